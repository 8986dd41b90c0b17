/** Steps in each power of two: a quantile is told within 1/16 of its value. */
const STEPS = 16
/** From 1 µs to 2^27 µs, over two minutes; what is longer counts as that. */
const POWERS = 28

/** Latency quantiles in 4 kB, whatever is recorded. */
export class Histogram {
  /** Doubles: a busy process overflows 32 bits in a day. */
  readonly #counts = new Float64Array(STEPS * POWERS)
  #count = 0
  #maxMs = 0

  get count(): number {
    return this.#count
  }

  get maxMs(): number {
    return this.#maxMs
  }

  /** `weight`: how many events this one stands for, where not every one is timed. */
  record(ms: number, weight = 1): void {
    const bucket = bucketOf(ms)
    this.#counts[bucket] = this.#at(bucket) + weight
    this.#count += weight
    if (ms > this.#maxMs) this.#maxMs = ms
  }

  /** The time within which this share (0 to 1) of the events ended; undefined where there were none. */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined
    let left = share * this.#count
    for (let bucket = 0; bucket < this.#counts.length; bucket += 1) {
      left -= this.#at(bucket)
      if (left <= 0) return Math.min(upperBoundMs(bucket), this.#maxMs)
    }
    return this.#maxMs
  }

  #at(bucket: number): number {
    return this.#counts[bucket] ?? 0
  }
}

function bucketOf(ms: number): number {
  const us = Math.max(1, Math.min(Math.round(ms * 1000), 2 ** (POWERS - 1)))
  const power = 31 - Math.clz32(us)
  return power * STEPS + Math.min(STEPS - 1, Math.floor((us / 2 ** power - 1) * STEPS))
}

function upperBoundMs(bucket: number): number {
  const power = Math.floor(bucket / STEPS)
  return (2 ** power * (1 + ((bucket % STEPS) + 1) / STEPS)) / 1000
}
