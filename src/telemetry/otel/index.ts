export { ATTRIBUTE, LATENCY_BOUNDARIES, METRIC, SPAN } from './names.js'
export { otel } from './otel.js'
export type { Otel, OtelOptions } from './otel.js'
