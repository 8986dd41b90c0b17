import type { Attributes, Span, Tracer as OtelTracer, TracerProvider } from '@opentelemetry/api'
import type { EvictionEvent, LookupEvent, Origin, StoreEvent } from '../events.js'
import type { OperationName, Scope, Tracer } from '../recorder.js'
import { ATTRIBUTE, SCOPE, SPAN } from './names.js'
import { type Api, reasonOf, type Warnings } from './otel.js'

export interface SpanOptions {
  readonly groups: boolean
  readonly keys: boolean
  readonly tracerProvider: TracerProvider | undefined
}

type Ended = LookupEvent | StoreEvent | EvictionEvent

/** Makes spans of operations: children of whatever span is active, and active while the operation runs. */
export function spanTracer(api: Api, options: SpanOptions, warnings: Warnings): Tracer {
  const tracer = options.tracerProvider?.getTracer(SCOPE) ?? api.trace.getTracer(SCOPE)
  const names = new Map<OperationName, string>()
  const failed = (error: unknown): void =>
    warnings.once('redwell: OpenTelemetry spans failed; requests go on without them.', error)
  return (operation, origin) => {
    let name = names.get(operation)
    if (name === undefined) names.set(operation, (name = spanName(operation)))
    try {
      return new SpanScope(api, startSpan(tracer, name, origin), options, failed)
    } catch (error) {
      failed(error)
      return undefined
    }
  }
}

function startSpan(tracer: OtelTracer, name: string, { kind, name: origin }: Origin): Span {
  return tracer.startSpan(name, {
    attributes: { [kind === 'route' ? ATTRIBUTE.route : ATTRIBUTE.namespace]: origin },
  })
}

function spanName(operation: OperationName): string {
  if (!operation.startsWith('backend.')) return SPAN[operation as 'get' | 'set' | 'put' | 'evict']
  const method = operation.slice('backend.'.length)
  return SPAN.backend + method.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

class SpanScope implements Scope {
  readonly #api: Api
  readonly #span: Span
  readonly #options: SpanOptions
  readonly #failed: (error: unknown) => void

  constructor(api: Api, span: Span, options: SpanOptions, failed: (error: unknown) => void) {
    this.#api = api
    this.#span = span
    this.#options = options
    this.#failed = failed
  }

  run<T>(work: () => T): T {
    const { context, trace } = this.#api
    return context.with(trace.setSpan(context.active(), this.#span), work)
  }

  end(event: Ended | undefined, error?: unknown): void {
    try {
      if (this.#span.isRecording()) this.#describe(event, error)
      this.#span.end()
    } catch (failure) {
      this.#failed(failure)
    }
  }

  #describe(event: Ended | undefined, error: unknown): void {
    const { ERROR } = this.#api.SpanStatusCode
    if (event !== undefined) {
      const attributes = own(event)
      this.#onRequest(event, attributes)
      this.#span.setAttributes(attributes)
    }
    if (error !== undefined) {
      this.#span.recordException(error instanceof Error ? error : reasonOf(error))
      this.#span.setStatus({ code: ERROR })
    } else if (event !== undefined && isOutage(event)) {
      this.#span.setAttribute(ATTRIBUTE.errorType, 'outage')
      this.#span.setStatus({ code: ERROR, message: 'Redis could not answer in time.' })
    }
  }

  #onRequest(event: Ended, attributes: Attributes): void {
    if (this.#options.groups) attributes[ATTRIBUTE.groups] = event.groups.filter((group) => group !== '')
    if (!this.#options.keys) return
    const keys = 'keys' in event ? [...event.keys] : event.key === undefined ? [] : [event.key]
    if (keys.length > 0) attributes[ATTRIBUTE.key] = keys.length === 1 ? keys[0] : keys
  }
}

function own(event: Ended): Attributes {
  if ('outcome' in event) return ofLookup(event)
  return 'result' in event ? ofStore(event) : ofEviction(event)
}

function ofLookup({ outcome, reason, ttlMs, ageMs }: LookupEvent): Attributes {
  const attributes: Attributes = {
    [ATTRIBUTE.outcome]: outcome,
    [ATTRIBUTE.reason]: reason,
    [ATTRIBUTE.hit]: outcome === 'hit' || outcome === 'stale',
  }
  if (ttlMs !== undefined && ttlMs !== Infinity) attributes[ATTRIBUTE.ttl] = ttlMs / 1000
  if (ageMs !== undefined) attributes[ATTRIBUTE.age] = ageMs / 1000
  return attributes
}

function ofStore({ by, result, ttlMs }: StoreEvent): Attributes {
  const attributes: Attributes = { [ATTRIBUTE.write]: by.replace('-', '_'), [ATTRIBUTE.result]: result }
  if (ttlMs !== Infinity) attributes[ATTRIBUTE.ttl] = ttlMs / 1000
  return attributes
}

function ofEviction({ confirmed, keys, groups }: EvictionEvent): Attributes {
  const targets = [...(keys.length > 0 ? ['key'] : []), ...(groups.length > 0 ? ['group'] : [])]
  return { [ATTRIBUTE.target]: targets, [ATTRIBUTE.confirmed]: confirmed }
}

/** The cache failed, not the request; a miss and an outage must not look alike. */
function isOutage(event: Ended): boolean {
  if ('outcome' in event) return event.reason === 'outage'
  return 'result' in event ? event.result === 'outage' : !event.confirmed
}
