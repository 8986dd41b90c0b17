import type { Attributes, ObservableResult } from '@opentelemetry/api'

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
