import type { Kept } from './entry-tier.js'

/** Counters for each key, in different places: the least of them is the count, or a little more. */
const ROWS = 4

/** The highest count: higher ones would carry no information, because all such keys are hot. */
const COUNT_MAX = 15

/** A counter for each so many bytes of the budget, so that there are several for each entry. */
const BYTES_PER_COUNTER = 256

const COUNTERS_MIN = 1024

/** Keys counted for each counter of a row, before all counts are halved: what was hot an hour ago must be able to go. */
const SAMPLES_PER_COUNTER = 4

/**
 * How often keys were asked for of late, in a fixed number of bytes: a count-min sketch with aging (TinyLFU, Einziger,
 * Friedman and Manes 2017). Decides whether a new entry deserves the place of an old one.
 */
export class Frequencies {
  readonly #counters: Uint8Array
  readonly #mask: number
  #samples = 0

  constructor(maxBytes: number) {
    const wanted = Math.max(COUNTERS_MIN, maxBytes / BYTES_PER_COUNTER / ROWS)
    const width = 2 ** Math.ceil(Math.log2(wanted))
    this.#counters = new Uint8Array(width * ROWS)
    this.#mask = width - 1
  }

  /** Counts a key that was looked for in vain. Returns how often that happened of late. */
  add(key: string): number {
    const hash = hashOf(key)
    let least = COUNT_MAX
    for (let row = 0; row < ROWS; row += 1) {
      const at = this.#at(hash, row)
      const count = Math.min((this.#counters[at] ?? 0) + 1, COUNT_MAX)
      this.#counters[at] = count
      least = Math.min(least, count)
    }
    this.#samples += 1
    return least
  }

  /** Whether it is time to age. */
  get isOld(): boolean {
    return this.#samples > (this.#mask + 1) * SAMPLES_PER_COUNTER
  }

  /** Halves all counts. */
  age(): void {
    this.#samples >>= 1
    for (let at = 0; at < this.#counters.length; at += 1) this.#counters[at] = (this.#counters[at] ?? 0) >> 1
  }

  /** How often a kept entry was asked for of late. What was counted at the entry itself is moved here. */
  ofKept(kept: Kept): number {
    const hash = hashOf(kept.key)
    let least = COUNT_MAX
    for (let row = 0; row < ROWS; row += 1) {
      const at = this.#at(hash, row)
      const count = Math.min((this.#counters[at] ?? 0) + kept.uses, COUNT_MAX)
      this.#counters[at] = count
      least = Math.min(least, count)
    }
    kept.uses = 0
    return least
  }

  #at(hash: number, row: number): number {
    // Another multiplier for each row, and the high bits, which depend on all of the hash.
    const mixed = Math.imul(hash ^ (hash >>> 15), MULTIPLIERS[row] ?? 1)
    return row * (this.#mask + 1) + ((mixed ^ (mixed >>> 16)) & this.#mask)
  }
}

/** Odd numbers of well-mixed bits (those of the MurmurHash3 and xxHash families). */
const MULTIPLIERS = [0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x9e3779b1]

/** FNV-1a over the UTF-16 units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash
}
