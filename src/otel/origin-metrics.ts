import type { Attributes } from '@opentelemetry/api'
import type { Origin, Outcome } from '../diagnostics/events.js'
import type { Instruments, SeriesName } from './instruments.js'
import { ATTRIBUTE } from './names.js'
import type { Point } from './series.js'

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
