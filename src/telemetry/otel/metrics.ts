import type { Attributes, Histogram, Meter, MeterProvider, ObservableResult } from '@opentelemetry/api'
import {
  type BreakerEvent,
  type CacheEvents,
  type ConnectionEvent,
  type EvictionEvent,
  type Origin,
  type Outcome,
  type RateLimitEvent,
  type SessionEvent,
  type RetryEvent,
  type StoreEvent,
  subscribe,
} from '../events.js'
import { valueAt } from '../../value-at.js'
import { setMeter } from '../recorder.js'
import { type Api, ATTRIBUTE, LATENCY_BOUNDARIES, METRIC, SCOPE } from './names.js'

const { reason: REASON, result: RESULT, write: WRITE } = ATTRIBUTE

/** Adds each event to the metrics. Every value of a label comes from a declaration or a type, never from a request. */
export class Metrics {
  readonly #instruments: Instruments
  /** By identity: an origin is the same object in all its events. */
  readonly #origins = new Map<Origin, OriginMetrics>()
  readonly #stop: (() => void)[] = []

  constructor(instruments: Instruments, onError: (error: unknown) => void) {
    this.#instruments = instruments
    const listen = <Name extends keyof CacheEvents>(name: Name, record: (event: CacheEvents[Name]) => void): void => {
      const guarded = (event: CacheEvents[Name]): void => {
        try {
          record(event)
        } catch (error) {
          onError(error)
        }
      }
      this.#stop.push(subscribe(name, guarded))
    }
    setMeter((origin, outcome, reason, bytes, durationMs) => {
      try {
        this.#lookup(origin, outcome, reason, bytes, durationMs)
      } catch (error) {
        onError(error)
      }
    })
    this.#stop.push(() => setMeter(undefined))
    listen('redwell:store', (event) => this.#store(event))
    listen('redwell:eviction', (event) => this.#evict(event))
    listen('redwell:refusal', ({ origin, reason }) => this.#of(origin).add('refusals', { [REASON]: reason }))
    listen('redwell:wait', ({ origin, holder }) => this.#of(origin).add('waits', { [ATTRIBUTE.holder]: holder }))
    listen('redwell:refresh', ({ origin, reason }) => this.#of(origin).add('refreshes', { [REASON]: reason }))
    listen('redwell:fence', ({ origin, write }) => this.#of(origin).add('fenced', { [WRITE]: snake(write) }))
    listen('redwell:stale-if-error', ({ origin }) => this.#of(origin).add('stale', { [REASON]: 'error' }))
    listen('redwell:breaker', (event) => this.#breaker(event))
    listen('redwell:connection', (event) => this.#connection(event))
    listen('redwell:retry', (event) => this.#retry(event))
    listen('redwell:near', ({ prefix, trusted }) => {
      this.#instruments.point('nearTrusted', { [ATTRIBUTE.prefix]: prefix }).value = trusted ? 1 : 0
    })
    listen('redwell:ratelimit', (event) => this.#rateLimit(event))
    listen('redwell:session', (event) => this.#session(event))
  }

  /** Stops counting. The totals can still be collected: applications flush their SDK after they have closed Redis. */
  stop(): void {
    for (const stop of this.#stop.splice(0)) stop()
  }

  /** Reports nothing from now on, because other metrics replace these. */
  close(): void {
    this.stop()
    this.#instruments.close()
  }

  #lookup(origin: Origin, outcome: Outcome, reason: string, bytes: number, durationMs: number | undefined): void {
    const { counts, served, latency } = this.#of(origin).lookup(outcome, reason)
    for (const point of counts) point.value += 1
    if (served !== undefined) served.value += bytes
    if (durationMs !== undefined && outcome !== 'bypass') this.#instruments.latency?.record(durationMs / 1000, latency)
  }

  #store({ origin, write, result, bytes, durationMs }: StoreEvent): void {
    const own = this.#of(origin)
    own.add('writes', { [WRITE]: snake(write), [RESULT]: result })
    if (result === 'stored') own.add('bytes', { [ATTRIBUTE.direction]: 'stored' }, bytes)
    const latency = own.latency(write === 'write-through' ? 'put' : 'set', { [RESULT]: result })
    this.#instruments.latency?.record(durationMs / 1000, latency)
  }

  #evict({ origin, operation, keys, groups, confirmed, durationMs }: EvictionEvent): void {
    const own = this.#of(origin)
    const result = { [RESULT]: confirmed ? 'confirmed' : 'unconfirmed' }
    if (keys.length > 0) own.add('evictions', { [ATTRIBUTE.target]: 'key', ...result }, keys.length)
    if (groups.length > 0) own.add('evictions', { [ATTRIBUTE.target]: 'group', ...result }, groups.length)
    // The time of a write-through is recorded with its store.
    if (operation !== 'put') this.#instruments.latency?.record(durationMs / 1000, own.latency('evict', result))
  }

  #breaker({ server, state }: BreakerEvent): void {
    const labels = { [ATTRIBUTE.server]: server }
    this.#instruments.point('breakerChanges', { ...labels, [ATTRIBUTE.state]: state }).value += 1
    this.#instruments.point('breakerOpen', labels).value = state === 'open' ? 1 : 0
  }

  #connection({ server, status }: ConnectionEvent): void {
    const labels = { [ATTRIBUTE.server]: server }
    if (status === 'closed') this.#instruments.delete('available', labels)
    else this.#instruments.point('available', labels).value = status === 'ready' ? 1 : 0
  }

  #retry({ prefix, result, pending }: RetryEvent): void {
    const labels = { [ATTRIBUTE.prefix]: prefix }
    this.#instruments.point('retries', { ...labels, [RESULT]: result }).value += 1
    this.#instruments.point('unconfirmed', labels).value = pending
  }

  #rateLimit({ scope, outcome, durationMs }: RateLimitEvent): void {
    const labels = { [ATTRIBUTE.scope]: scope, [ATTRIBUTE.limitOutcome]: outcome }
    this.#instruments.point('rateLimitRequests', labels).value += 1
    this.#instruments.rateLimitLatency?.record(durationMs / 1000, labels)
  }

  #session({ operation, outcome, durationMs }: SessionEvent): void {
    const labels = { [ATTRIBUTE.sessionOperation]: snake(operation), [ATTRIBUTE.sessionOutcome]: snake(outcome) }
    this.#instruments.point('sessionOperations', labels).value += 1
    this.#instruments.sessionLatency?.record(durationMs / 1000, labels)
  }

  #of(origin: Origin): OriginMetrics {
    return valueAt(this.#origins, origin, () => new OriginMetrics(origin, this.#instruments))
  }
}

/** Label values have underscores: `write_through`. */
function snake(name: string): string {
  return name.replace('-', '_')
}

/** Counters, whose series only grow. */
const COUNTERS = {
  requests: { unit: '{request}', description: 'Lookups of routes and namespaces, by outcome and reason.' },
  stale: { unit: '{request}', description: 'Answers past their lifetime, by what allowed them.' },
  collapsed: { unit: '{request}', description: "Answers from another request's run." },
  waits: { unit: '{request}', description: "Waits for another request's run." },
  refreshes: { unit: '{refresh}', description: 'Background refreshes that were started.' },
  writes: { unit: '{write}', description: 'Stores, by source and result.' },
  fenced: { unit: '{write}', description: 'Entries not stored because of an invalidation or another writer.' },
  refusals: { unit: '{response}', description: 'Responses that were served and not stored, by reason.' },
  evictions: { unit: '{eviction}', description: 'Keys and groups that were invalidated.' },
  bytes: { unit: 'By', description: 'Bytes of bodies, served from the cache and stored.' },
  breakerChanges: { unit: '{change}', description: 'Changes of the breaker in front of Redis, by new state.' },
  retries: { unit: '{retry}', description: 'Retries of invalidations that Redis had not confirmed.' },
  rateLimitRequests: { unit: '{request}', description: 'Calls of rate limiters, by outcome.' },
  sessionOperations: { unit: '{operation}', description: 'Operations of sessions, by outcome.' },
} as const

/** Current values. */
const GAUGES = {
  breakerOpen: { unit: '1', description: '1 while the breaker is open and commands do not reach Redis, else 0.' },
  available: { unit: '1', description: '1 while Redis answers, else 0.' },
  nearTrusted: { unit: '1', description: '1 while Redis reports changes to the near cache, else 0.' },
  unconfirmed: { unit: '{invalidation}', description: 'Keys and groups whose invalidation Redis has not confirmed.' },
} as const

type SeriesName = keyof typeof COUNTERS | keyof typeof GAUGES

/** The instruments of the meter provider that is registered at the moment: it may be registered after redwell. */
export class Instruments {
  readonly #api: Api
  readonly #given: MeterProvider | undefined
  /**
   * The running values of each metric by their attributes, read when metrics are collected. A counter of the SDK
   * serialises its attributes at each call, which costs more than a hit from memory; a point is an addition.
   */
  readonly #series = new Map<SeriesName, Map<string, Point>>()
  #provider: MeterProvider | undefined
  #latency: Histogram | undefined
  #rateLimitLatency: Histogram | undefined
  #sessionLatency: Histogram | undefined
  #removeCallbacks: (() => void)[] = []

  constructor(api: Api, given: MeterProvider | undefined) {
    this.#api = api
    this.#given = given
  }

  point(name: SeriesName, attributes: Attributes): Point {
    this.#follow()
    let series = this.#series.get(name)
    if (series === undefined) this.#series.set(name, (series = new Map()))
    const id = JSON.stringify(attributes)
    let point = series.get(id)
    if (point === undefined) series.set(id, (point = { attributes, value: 0 }))
    return point
  }

  delete(name: SeriesName, attributes: Attributes): void {
    this.#series.get(name)?.delete(JSON.stringify(attributes))
  }

  /** Read at each event, so that a provider is found as soon as it is registered. */
  get latency(): Histogram | undefined {
    this.#follow()
    return this.#latency
  }

  get rateLimitLatency(): Histogram | undefined {
    this.#follow()
    return this.#rateLimitLatency
  }

  get sessionLatency(): Histogram | undefined {
    this.#follow()
    return this.#sessionLatency
  }

  close(): void {
    for (const remove of this.#removeCallbacks.splice(0)) remove()
    this.#latency = undefined
    this.#rateLimitLatency = undefined
    this.#sessionLatency = undefined
    this.#provider = undefined
  }

  #follow(): void {
    const provider = this.#given ?? this.#api.metrics.getMeterProvider()
    if (provider === this.#provider) return
    this.close()
    this.#provider = provider
    const meter = provider.getMeter(SCOPE)
    const histogram = (name: string, description: string): Histogram =>
      meter.createHistogram(name, {
        unit: 's',
        description,
        advice: { explicitBucketBoundaries: [...LATENCY_BOUNDARIES] },
      })
    this.#latency = histogram(METRIC.latency, 'Time of decisions, stores and invalidations, without handlers.')
    this.#rateLimitLatency = histogram(METRIC.rateLimitLatency, 'Time of the decisions of rate limits.')
    this.#sessionLatency = histogram(METRIC.sessionLatency, 'Time that Redis took for sessions.')
    for (const name of keysOf(COUNTERS)) this.#watch(meter.createObservableCounter(METRIC[name], COUNTERS[name]), name)
    for (const name of keysOf(GAUGES)) this.#watch(meter.createObservableGauge(METRIC[name], GAUGES[name]), name)
  }

  #watch(instrument: ReturnType<Meter['createObservableGauge']>, name: SeriesName): void {
    const observe = (result: ObservableResult): void =>
      this.#series.get(name)?.forEach(({ attributes, value }) => result.observe(value, attributes))
    instrument.addCallback(observe)
    this.#removeCallbacks.push(() => instrument.removeCallback(observe))
  }
}

function keysOf<Key extends string>(table: Readonly<Record<Key, unknown>>): Key[] {
  return Object.keys(table) as Key[]
}

/** What a lookup of one outcome and reason adds to. */
interface LookupPoints {
  /** Each grows by one. */
  readonly counts: readonly Point[]
  /** Grows by the bytes served. */
  readonly served: Point | undefined
  /** Attributes of the histogram. */
  readonly latency: Attributes
}

/** The metrics of one route or namespace. A lookup finds its points without building a string or an object. */
class OriginMetrics {
  readonly #attributes: Attributes
  readonly #instruments: Instruments
  readonly #lookups = new Map<Outcome, Map<string, LookupPoints>>()

  constructor({ kind, name }: Origin, instruments: Instruments) {
    this.#attributes = { [kind === 'route' ? ATTRIBUTE.route : ATTRIBUTE.namespace]: name }
    this.#instruments = instruments
  }

  lookup(outcome: Outcome, reason: string): LookupPoints {
    let byReason = this.#lookups.get(outcome)
    if (byReason === undefined) this.#lookups.set(outcome, (byReason = new Map()))
    let points = byReason.get(reason)
    if (points === undefined) byReason.set(reason, (points = this.#lookupPoints(outcome, reason)))
    return points
  }

  #lookupPoints(outcome: Outcome, reason: string): LookupPoints {
    const counts = [this.#point('requests', { [ATTRIBUTE.outcome]: outcome, [REASON]: reason })]
    if (outcome === 'stale') counts.push(this.#point('stale', { [REASON]: reason }))
    if (reason === 'collapsed') counts.push(this.#point('collapsed', {}))
    const serves = outcome === 'hit' || outcome === 'stale'
    const served = serves ? this.#point('bytes', { [ATTRIBUTE.direction]: 'served' }) : undefined
    return { counts, served, latency: this.latency('get', { [ATTRIBUTE.outcome]: outcome }) }
  }

  add(name: SeriesName, labels: Attributes, by = 1): void {
    this.#point(name, labels).value += by
  }

  latency(operation: string, labels: Attributes): Attributes {
    return { ...this.#attributes, [ATTRIBUTE.operation]: operation, ...labels }
  }

  #point(name: SeriesName, labels: Attributes): Point {
    return this.#instruments.point(name, { ...this.#attributes, ...labels })
  }
}

/** The running value of one set of attributes. */
interface Point {
  readonly attributes: Attributes
  value: number
}
