import type { Attributes, Histogram, Meter, MeterProvider, ObservableResult } from '@opentelemetry/api'
import { subscribe } from '../channels.js'
import type {
  BreakerEvent,
  CacheEvents,
  ConnectionEvent,
  EvictionEvent,
  LookupEvent,
  Origin,
  Outcome,
  RetryEvent,
  StoreEvent,
} from '../events.js'
import { ATTRIBUTE, LATENCY_BOUNDARIES, METRIC, SCOPE } from './names.js'
import type { Api, Warnings } from './otel.js'

const { reason: REASON, result: RESULT, write: WRITE } = ATTRIBUTE

/** What an event adds to the metrics. Each value of a label comes from a declaration or a type, never from a request. */
export class Metrics {
  readonly #instruments: Instruments
  /** By identity: an origin is the same object in all its events. */
  readonly #origins = new Map<Origin, OriginMetrics>()
  readonly #stop: (() => void)[] = []

  constructor(instruments: Instruments, warnings: Warnings) {
    this.#instruments = instruments
    const listen = <Name extends keyof CacheEvents>(name: Name, take: (event: CacheEvents[Name]) => void): void => {
      const guarded = (event: CacheEvents[Name]): void => {
        try {
          take(event)
        } catch (error) {
          warnings.once('redwell: OpenTelemetry metrics failed; requests go on without them.', error)
        }
      }
      this.#stop.push(subscribe(name, guarded))
    }
    listen('redwell:lookup', (event) => this.#lookup(event))
    listen('redwell:store', (event) => this.#store(event))
    listen('redwell:eviction', (event) => this.#evict(event))
    listen('redwell:refusal', ({ origin, reason }) => this.#of(origin).add('refusals', REASON, reason))
    listen('redwell:wait', ({ origin, holder }) => this.#of(origin).add('waits', ATTRIBUTE.holder, holder))
    listen('redwell:refresh', ({ origin, reason }) => this.#of(origin).add('refreshes', REASON, reason))
    listen('redwell:fence', ({ origin, by }) => this.#of(origin).add('fenced', WRITE, snake(by)))
    listen('redwell:stand-in', ({ origin }) => this.#of(origin).add('stale', REASON, 'error'))
    listen('redwell:breaker', (event) => this.#breaker(event))
    listen('redwell:connection', (event) => this.#connection(event))
    listen('redwell:retry', (event) => this.#retry(event))
  }

  /** Counts no more. What was counted can still be collected: applications flush their SDK after they have closed Redis. */
  stop(): void {
    for (const stop of this.#stop.splice(0)) stop()
  }

  /** Tells nothing any more, because another one does. */
  close(): void {
    this.stop()
    this.#instruments.close()
  }

  #lookup({ origin, outcome, reason, bytes, durationMs }: LookupEvent): void {
    const own = this.#of(origin)
    const { requests, latency } = own.lookup(outcome, reason)
    const histogram = this.#instruments.latency
    requests.value += 1
    if (outcome === 'bypass') return
    if (outcome === 'stale') own.add('stale', REASON, reason)
    if (reason === 'collapsed') own.count('collapsed', {})
    if (bytes > 0) own.add('bytes', ATTRIBUTE.direction, 'served', bytes)
    histogram?.record(durationMs / 1000, latency)
  }

  #store({ origin, by, result, bytes, durationMs }: StoreEvent): void {
    const own = this.#of(origin)
    own.count('writes', { [WRITE]: snake(by), [RESULT]: result })
    if (result === 'stored' && bytes > 0) own.add('bytes', ATTRIBUTE.direction, 'stored', bytes)
    const latency = own.latency(by === 'write-through' ? 'put' : 'set', RESULT, result)
    this.#instruments.latency?.record(durationMs / 1000, latency)
  }

  #evict({ origin, operation, keys, groups, confirmed, durationMs }: EvictionEvent): void {
    const own = this.#of(origin)
    const result = confirmed ? 'confirmed' : 'unconfirmed'
    if (keys.length > 0) own.count('evictions', { [ATTRIBUTE.target]: 'key', [RESULT]: result }, keys.length)
    if (groups.length > 0) own.count('evictions', { [ATTRIBUTE.target]: 'group', [RESULT]: result }, groups.length)
    // A write-through's time is told of with its store.
    if (operation === 'put') return
    this.#instruments.latency?.record(durationMs / 1000, own.latency('evict', RESULT, result))
  }

  #breaker({ server, state }: BreakerEvent): void {
    const at = { [ATTRIBUTE.server]: server }
    this.#instruments.series('breakerChanges').point({ ...at, [ATTRIBUTE.state]: state }).value += 1
    this.#instruments.series('breakerOpen').point(at).value = state === 'open' ? 1 : 0
  }

  #connection({ server, status }: ConnectionEvent): void {
    const at = { [ATTRIBUTE.server]: server }
    const series = this.#instruments.series('available')
    if (status === 'closed') series.delete(at)
    else series.point(at).value = status === 'ready' ? 1 : 0
  }

  #retry({ prefix, result, pending }: RetryEvent): void {
    const under = { [ATTRIBUTE.prefix]: prefix }
    this.#instruments.series('retries').point({ ...under, [RESULT]: result }).value += 1
    this.#instruments.series('unconfirmed').point(under).value = pending
  }

  #of(origin: Origin): OriginMetrics {
    let own = this.#origins.get(origin)
    if (own === undefined) this.#origins.set(origin, (own = new OriginMetrics(origin, this.#instruments)))
    return own
  }
}

/** As the labels of the model are written: `write_through`. */
function snake(name: string): string {
  return name.replace('-', '_')
}

interface Described {
  readonly unit: string
  readonly description: string
}

/** Counters, whose series only grow. */
const COUNTERS = {
  requests: { unit: '{request}', description: 'Lookups of routes and namespaces, by outcome and reason.' },
  stale: { unit: '{request}', description: 'Answers past their lifetime, by what allowed them.' },
  collapsed: { unit: '{request}', description: 'Answers that the run of another request gave.' },
  waits: { unit: '{request}', description: 'Waits for the run of another request.' },
  refreshes: { unit: '{refresh}', description: 'Background refreshes that were begun.' },
  writes: { unit: '{write}', description: 'Stores, by what they came from and how they ended.' },
  fenced: { unit: '{write}', description: 'Stores that an invalidation or another writer forestalled.' },
  refusals: { unit: '{response}', description: 'Responses that were served and not stored, by reason.' },
  evictions: { unit: '{eviction}', description: 'Keys and groups that were invalidated.' },
  bytes: { unit: 'By', description: 'Bytes of bodies, served from the cache and stored.' },
  breakerChanges: { unit: '{change}', description: 'Changes of the breaker in front of Redis, by new state.' },
  retries: { unit: '{retry}', description: 'Tries at invalidations that Redis had not confirmed.' },
} as const satisfies Partial<Record<keyof typeof METRIC, Described>>

/** Values as they are at the moment. */
const GAUGES = {
  breakerOpen: { unit: '1', description: '1 while the breaker keeps commands from Redis, else 0.' },
  available: { unit: '1', description: '1 while Redis answers, else 0.' },
  unconfirmed: { unit: '{invalidation}', description: 'Keys and groups whose invalidation Redis has not confirmed.' },
} as const satisfies Partial<Record<keyof typeof METRIC, Described>>

export type SeriesName = keyof typeof COUNTERS | keyof typeof GAUGES

/** The instruments of the meter provider that is registered at the moment: it may be registered after us. */
export class Instruments {
  readonly #api: Api
  readonly #given: MeterProvider | undefined
  readonly #series = new Map<SeriesName, Series>()
  #provider: MeterProvider | undefined
  #latency: Histogram | undefined
  #forget: (() => void)[] = []

  constructor(api: Api, given: MeterProvider | undefined) {
    this.#api = api
    this.#given = given
  }

  series(name: SeriesName): Series {
    this.#follow()
    let series = this.#series.get(name)
    if (series === undefined) this.#series.set(name, (series = new Series()))
    return series
  }

  /** Asked at each event: so the provider is found as soon as there is one. */
  get latency(): Histogram | undefined {
    this.#follow()
    return this.#latency
  }

  close(): void {
    for (const forget of this.#forget) forget()
    this.#forget = []
    this.#latency = undefined
    this.#provider = undefined
  }

  #follow(): void {
    const provider = this.#given ?? this.#api.metrics.getMeterProvider()
    if (provider === this.#provider) return
    this.close()
    this.#provider = provider
    this.#make(provider.getMeter(SCOPE))
  }

  #make(meter: Meter): void {
    this.#latency = meter.createHistogram(METRIC.latency, {
      unit: 's',
      description: 'Time of decisions, stores and invalidations, without handlers.',
      advice: { explicitBucketBoundaries: [...LATENCY_BOUNDARIES] },
    })
    for (const [name, options] of entries(COUNTERS))
      this.#watch(meter.createObservableCounter(METRIC[name], options), name)
    for (const [name, options] of entries(GAUGES)) this.#watch(meter.createObservableGauge(METRIC[name], options), name)
  }

  #watch(instrument: ReturnType<Meter['createObservableGauge']>, name: SeriesName): void {
    const observe = (result: ObservableResult): void => this.#series.get(name)?.observe(result)
    instrument.addCallback(observe)
    this.#forget.push(() => instrument.removeCallback(observe))
  }
}

function entries<Name extends string>(table: Readonly<Record<Name, Described>>): [Name, Described][] {
  return Object.entries(table) as [Name, Described][]
}

/** What a lookup of one outcome and reason adds to. */
export interface LookupPoints {
  readonly requests: Point
  /** Of the histogram; the same object each time. */
  readonly latency: Attributes
}

/** The points of one route or namespace, found without making a text or an object for each event. */
export class OriginMetrics {
  readonly attributes: Attributes
  readonly #instruments: Instruments
  readonly #lookups: Record<Outcome, Map<string, LookupPoints>> = {
    hit: new Map(),
    stale: new Map(),
    miss: new Map(),
    bypass: new Map(),
  }
  readonly #points = new Map<SeriesName, Map<string, Point>>()
  readonly #latencies = new Map<string, Map<string, Attributes>>()

  constructor({ kind, name }: Origin, instruments: Instruments) {
    this.attributes = { [kind === 'route' ? ATTRIBUTE.route : ATTRIBUTE.namespace]: name }
    this.#instruments = instruments
  }

  lookup(outcome: Outcome, reason: string): LookupPoints {
    const known = this.#lookups[outcome].get(reason)
    if (known !== undefined) return known
    const attributes = { ...this.attributes, [ATTRIBUTE.outcome]: outcome, [ATTRIBUTE.reason]: reason }
    const requests = this.#instruments.series('requests').point(attributes)
    const made = { requests, latency: this.latency('get', ATTRIBUTE.outcome, outcome) }
    this.#lookups[outcome].set(reason, made)
    return made
  }

  /** Adds to the point with one label more than the origin's own. */
  add(name: SeriesName, label: string, value: string, by = 1): void {
    const points = mapOf(this.#points, name)
    let point = points.get(value)
    if (point === undefined) {
      point = this.#instruments.series(name).point({ ...this.attributes, [label]: value })
      points.set(value, point)
    }
    point.value += by
  }

  /** Adds to a point of several labels; for what happens more seldom than hits. */
  count(name: SeriesName, labels: Attributes, by = 1): void {
    this.#instruments.series(name).point({ ...this.attributes, ...labels }).value += by
  }

  /** Attributes of a time. */
  latency(operation: string, label: string, value: string): Attributes {
    const latencies = mapOf(this.#latencies, operation)
    let attributes = latencies.get(value)
    if (attributes === undefined) {
      attributes = { ...this.attributes, [ATTRIBUTE.operation]: operation, [label]: value }
      latencies.set(value, attributes)
    }
    return attributes
  }
}

function mapOf<Key, Inner>(maps: Map<Key, Map<string, Inner>>, key: Key): Map<string, Inner> {
  let map = maps.get(key)
  if (map === undefined) maps.set(key, (map = new Map()))
  return map
}

/** The running value of one set of attributes. */
export interface Point {
  readonly attributes: Attributes
  value: number
}

/**
 * The running values of one metric, read when metrics are collected. A counter of the SDK serialises its attributes at
 * each call, which costs more than a hit from memory; a point is an addition.
 */
export class Series {
  readonly #points = new Map<string, Point>()

  /** The point of these attributes, made where it is asked for the first time. */
  point(attributes: Attributes): Point {
    const id = JSON.stringify(attributes)
    let point = this.#points.get(id)
    if (point === undefined) this.#points.set(id, (point = { attributes, value: 0 }))
    return point
  }

  delete(attributes: Attributes): void {
    this.#points.delete(JSON.stringify(attributes))
  }

  readonly observe = (result: ObservableResult): void => {
    for (const { attributes, value } of this.#points.values()) result.observe(value, attributes)
  }
}
