import type { Attributes, AttributeValue, Span, TracerProvider } from '@opentelemetry/api'
import { type EvictionEvent, type LookupEvent, type StoreEvent, subscribe } from '../events.js'
import type { Scope, Tracer } from '../recorder.js'
import { type Api, ATTRIBUTE, SCOPE, SPAN } from './names.js'

interface SpanOptions {
  readonly groups: boolean
  readonly keys: boolean
  readonly tracerProvider: TracerProvider | undefined
}

type EndEvent = LookupEvent | StoreEvent | EvictionEvent

/** Creates a span for each operation: a child of the active span, and itself active while the operation runs. */
export function spanTracer(api: Api, options: SpanOptions, onError: (error: unknown) => void): Tracer {
  const tracer = options.tracerProvider?.getTracer(SCOPE) ?? api.trace.getTracer(SCOPE)
  const names = new Map<string, string>()
  return (operation, { kind, name: origin }) => {
    let name = names.get(operation)
    if (name === undefined) names.set(operation, (name = spanName(operation)))
    const attributes = { [kind === 'route' ? ATTRIBUTE.route : ATTRIBUTE.namespace]: origin }
    try {
      return new SpanScope(api, tracer.startSpan(name, { attributes }), options, onError)
    } catch (error) {
      onError(error)
      return undefined
    }
  }
}

/** Creates a span for each call of a rate limiter and each operation of sessions, when it is over. Returns a function that ends this. */
export function eventSpans(
  api: Api,
  provider: TracerProvider | undefined,
  onError: (error: unknown) => void,
): () => void {
  const span = (name: string, at: number, durationMs: number, attributes: Attributes): void => {
    try {
      const tracer = provider?.getTracer(SCOPE) ?? api.trace.getTracer(SCOPE)
      tracer.startSpan(name, { startTime: at - durationMs, attributes }).end(at)
    } catch (error) {
      onError(error)
    }
  }
  const stops = [
    subscribe('redwell:ratelimit', ({ at, scope, outcome, limit, durationMs }) => {
      const attributes = { [ATTRIBUTE.scope]: scope, [ATTRIBUTE.limit]: limit, [ATTRIBUTE.limitOutcome]: outcome }
      span(SPAN.rateLimit, at, durationMs, attributes)
    }),
    subscribe('redwell:session', ({ at, operation, outcome, durationMs }) => {
      span(SPAN.session + operation.replace('-', '_'), at, durationMs, { [ATTRIBUTE.sessionOutcome]: outcome })
    }),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}

const ROUTE_SPANS: Readonly<Record<string, string | undefined>> = {
  get: SPAN.get,
  set: SPAN.set,
  put: SPAN.put,
  evict: SPAN.evict,
}

function spanName(operation: string): string {
  const method = operation.replace('backend.', '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  return ROUTE_SPANS[operation] ?? SPAN.backend + method
}

class SpanScope implements Scope {
  readonly #api: Api
  readonly #span: Span
  readonly #options: SpanOptions
  readonly #onError: (error: unknown) => void

  constructor(api: Api, span: Span, options: SpanOptions, onError: (error: unknown) => void) {
    this.#api = api
    this.#span = span
    this.#options = options
    this.#onError = onError
  }

  run<T>(work: () => T): T {
    const { context, trace } = this.#api
    return context.with(trace.setSpan(context.active(), this.#span), work)
  }

  end(event: EndEvent | undefined, error?: unknown): void {
    try {
      if (this.#span.isRecording()) this.#describe(event, error)
      this.#span.end()
    } catch (failure) {
      this.#onError(failure)
    }
  }

  #describe(event: EndEvent | undefined, error: unknown): void {
    const { ERROR } = this.#api.SpanStatusCode
    if (event !== undefined) this.#span.setAttributes({ ...attributesOf(event), ...this.#optional(event) })
    if (error !== undefined) {
      this.#span.recordException(error instanceof Error ? error : typeof error)
      this.#span.setStatus({ code: ERROR })
    } else if (event !== undefined && isOutage(event)) {
      this.#span.setAttribute(ATTRIBUTE.errorType, 'outage')
      this.#span.setStatus({ code: ERROR, message: 'Redis did not answer in time.' })
    }
  }

  #optional(event: EndEvent): Attributes {
    const keys = 'keys' in event ? event.keys : event.key === undefined ? [] : [event.key]
    const key: AttributeValue | undefined = keys.length === 1 ? keys[0] : [...keys]
    return {
      ...(this.#options.groups ? { [ATTRIBUTE.groups]: event.groups.filter(isNamed) } : {}),
      ...(this.#options.keys && keys.length > 0 ? { [ATTRIBUTE.key]: key } : {}),
    }
  }
}

function attributesOf(event: EndEvent): Attributes {
  if ('outcome' in event) {
    const { outcome, reason, ttlMs, ageMs } = event
    return {
      [ATTRIBUTE.outcome]: outcome,
      [ATTRIBUTE.reason]: reason,
      [ATTRIBUTE.hit]: outcome === 'hit' || outcome === 'stale',
      ...ttlAttribute(ttlMs),
      ...(ageMs === undefined ? {} : { [ATTRIBUTE.age]: ageMs / 1000 }),
    }
  }
  if ('result' in event)
    return {
      [ATTRIBUTE.write]: event.write.replace('-', '_'),
      [ATTRIBUTE.result]: event.result,
      ...ttlAttribute(event.ttlMs),
    }
  const targets = [...(event.keys.length > 0 ? ['key'] : []), ...(event.groups.length > 0 ? ['group'] : [])]
  return { [ATTRIBUTE.target]: targets, [ATTRIBUTE.confirmed]: event.confirmed }
}

function ttlAttribute(ttlMs = Infinity): Attributes {
  return ttlMs === Infinity ? {} : { [ATTRIBUTE.ttl]: ttlMs / 1000 }
}

/** The cache failed, not the request; a miss and an outage must not look alike. */
function isOutage(event: EndEvent): boolean {
  if ('outcome' in event) return event.reason === 'outage'
  return 'result' in event ? event.result === 'outage' : !event.confirmed
}

/** Not that of the prefix, nor that of a path, which is part of a key. */
function isNamed(group: string): boolean {
  return group !== '' && !group.startsWith('=')
}
