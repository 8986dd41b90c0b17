/**
 * OpenTelemetry spans and metrics.
 *
 * @module redwell/otel
 */
import type { MeterProvider, TracerProvider } from '@opentelemetry/api'
import { createRequire } from 'node:module'
import { OptionsError } from '../../errors.js'
import { setTracer } from '../recorder.js'
import { Instruments, Metrics } from './metrics.js'
import type { Api } from './names.js'
import { eventSpans, spanTracer } from './spans.js'

export { ATTRIBUTE, LATENCY_BOUNDARIES, METRIC, SPAN } from './names.js'

/** Options of `otel`. */
export interface OtelOptions {
  /** Create spans. Default true. */
  readonly spans?: boolean | undefined
  /** Record metrics. Default true. */
  readonly metrics?: boolean | undefined
  /** Group names as an attribute of spans (not of metrics). Default false: names may come from requests. */
  readonly groups?: boolean | undefined
  /** Keys as an attribute of spans (not of metrics). Default false: they contain paths; a principal in them is a digest. */
  readonly keys?: boolean | undefined
  /** Default: the registered one, even if it is registered later. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Default: the registered one, even if it is registered later. */
  readonly meterProvider?: MeterProvider | undefined
}

/** The handle of a caller that switched telemetry on. */
export interface Otel extends Disposable {
  /** Switches telemetry off once every caller of `otel` has stopped. */
  stop(): void
}

type Warn = (message: string) => void

/** Callers of `otel` that have not stopped. */
let users = 0

/** The metrics that count, or that counted last. */
let metrics: Metrics | undefined

/** Spans of rate limits and sessions come from their events. */
let stopEventSpans = (): void => {}

/**
 * Switches OpenTelemetry on for every cache of this process, over the providers that the application registers. A second
 * call replaces the options if it has any, and changes nothing else. Without `@opentelemetry/api` it warns once and does
 * nothing.
 *
 * @example
 * import { otel } from 'redwell/otel'
 * otel({ groups: true })
 */
export function otel(options?: OtelOptions): Otel {
  if (options !== undefined) check(options)
  return start(options, emitWarning)
}

/** For the setting `otel`, whose warnings go to the application's logger. */
export function otelFromSettings(warn: Warn): Otel {
  return start(undefined, warn)
}

function start(options: OtelOptions | undefined, warn: Warn): Otel {
  let running = users > 0
  if (!running || options !== undefined) running = run(options ?? {}, warn) || running
  if (running) users += 1
  const stop = (): void => {
    if (running) leave()
    running = false
  }
  return { stop, [Symbol.dispose]: stop }
}

/** False: there is no `@opentelemetry/api`. */
function run(options: OtelOptions, warn: Warn): boolean {
  const api = loadApi()
  if (api === undefined) {
    warn('redwell: OpenTelemetry is enabled, but @opentelemetry/api is not installed: nothing is reported.')
    return false
  }
  const { spans = true, groups = false, keys = false, tracerProvider, meterProvider } = options
  const spansFailed = once(warn, 'redwell: OpenTelemetry spans failed; requests continue without them.')
  const metricsFailed = once(warn, 'redwell: OpenTelemetry metrics failed; requests continue without them.')
  setTracer(spans ? spanTracer(api, { groups, keys, tracerProvider }, spansFailed) : undefined)
  stopEventSpans()
  stopEventSpans = spans ? eventSpans(api, tracerProvider, spansFailed) : () => {}
  metrics?.close()
  metrics = options.metrics === false ? undefined : new Metrics(new Instruments(api, meterProvider), metricsFailed)
  return true
}

function leave(): void {
  users -= 1
  if (users > 0) return
  metrics?.stop()
  setTracer(undefined)
  stopEventSpans()
}

/** The method that a provider must have; the other options are switches. */
const METHODS: Readonly<Record<keyof OtelOptions, string | undefined>> = {
  spans: undefined,
  metrics: undefined,
  groups: undefined,
  keys: undefined,
  tracerProvider: 'getTracer',
  meterProvider: 'getMeter',
}

function check(options: OtelOptions): void {
  if (typeof options !== 'object' || options === null) throw new OptionsError('options of otel', ['must be an object'])
  const methods = new Map(Object.entries(METHODS))
  const problems = Object.entries(options).flatMap(([name, value]: [string, unknown]) => {
    if (!methods.has(name)) return [`${name}: there is no such option`]
    if (value === undefined) return []
    const method = methods.get(name)
    if (method === undefined) return typeof value === 'boolean' ? [] : [`${name}: must be true or false`]
    const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, method) : undefined
    return typeof found === 'function' ? [] : [`${name}: must have ${method}()`]
  })
  if (problems.length > 0) throw new OptionsError('options of otel', problems)
}

/** `@opentelemetry/api`, or undefined where it is not installed: an application starts without its telemetry. */
function loadApi(): Api | undefined {
  try {
    return createRequire(import.meta.url)('@opentelemetry/api') as Api
  } catch {
    return undefined
  }
}

/** Warns of the first error only. */
function once(warn: Warn, message: string): (error: unknown) => void {
  let warned = false
  return (error) => {
    if (warned) return
    warned = true
    // Not `String(error)`, which calls code of whatever was thrown.
    const reason = error instanceof Error ? error.message : typeof error === 'string' ? error : typeof error
    warn(`${message} ${reason}`)
  }
}

function emitWarning(message: string): void {
  process.emitWarning(message, { code: 'REDWELL_OTEL' })
}
