import type { Histogram, Meter, MeterProvider, ObservableResult } from '@opentelemetry/api'
import type { Api } from './api.js'
import { LATENCY_BOUNDARIES, METRIC, SCOPE } from './names.js'
import { Series } from './series.js'

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
