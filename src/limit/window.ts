import type { Rate } from './rate.js'

/**
 * How units are counted.
 * - `sliding-window`: never more than `limit` units in any window of its length (a log of hits; above a limit of 16 the
 *   hits of one sixteenth of the window share one record, so a unit returns up to a sixteenth of a window late)
 * - `fixed-window`: `limit` units from the first hit to the end of its window; up to twice that across the end
 * - `token-bucket`: units return evenly; up to `burst` at once
 */
export type Algorithm = 'sliding-window' | 'fixed-window' | 'token-bucket'

/** Up to this limit each hit has a record of its own. */
const EXACT_MAX = 16

/** Records that a window is divided into above that. */
export const SLOTS = 16

/** The state of one rate after a call. Milliseconds from now. */
export interface RateOutcome {
  readonly remaining: number
  /** Until every unit is back. */
  readonly resetMs: number
  /** Until the call would be allowed; 0: it is. Infinity: never, its cost is above the limit. */
  readonly retryMs: number
  /** Until the next unit is back; the whole window where none is used. */
  readonly nextMs: number
}

/** Records of a window: time in ms, units. Oldest first. */
interface LogSection {
  readonly kind: 'sliding-window'
  records: (readonly [at: number, units: number])[]
}

interface CounterSection {
  readonly kind: 'fixed-window'
  start: number
  units: number
}

/** A meter that drains evenly: microseconds until it is empty, counted from a time in microseconds. */
interface BucketSection {
  readonly kind: 'token-bucket'
  at: number
  debt: number
}

export type Section = LogSection | CounterSection | BucketSection

/** The counted windows of one identity, by length in ms: several calls with different rates share what they share. */
export type Sections = Map<number, Section>

export interface WindowCall {
  readonly algorithm: Algorithm
  readonly rates: readonly Rate[]
  readonly cost: number
}

/** All rates together: where one refuses, none is charged. `us` is the clock of the store, in microseconds. */
export function charge(sections: Sections, { algorithm, rates, cost }: WindowCall, us: number): readonly RateOutcome[] {
  const windows = rates.map((rate) => openWindow(algorithm, rate, sections.get(rate.windowMs), us))
  if (windows.some((window) => window.retryMs(cost) > 0)) return windows.map((window) => window.outcome(cost))
  windows.forEach((window, index) => {
    if (cost > 0) window.add(cost)
    sections.set(rates[index]?.windowMs ?? 0, window.section)
  })
  return windows.map((window) => window.outcome(0))
}

/** What `charge` would return, without charging. */
export function inspect(
  sections: Sections,
  { algorithm, rates, cost }: WindowCall,
  us: number,
): readonly RateOutcome[] {
  return rates.map((rate) => openWindow(algorithm, rate, sections.get(rate.windowMs), us).outcome(cost))
}

/** Gives units back to the hit at this time (ms), or without one to the oldest hits. A hit whose window is over gets none. */
export function refund(
  sections: Sections,
  { algorithm, rates, cost }: WindowCall,
  us: number,
  at: number | undefined,
): void {
  for (const rate of rates) {
    const section = sections.get(rate.windowMs)
    if (section !== undefined) openWindow(algorithm, rate, section, us).giveBack(cost, at)
  }
}

/** When the last section expires, in ms of the store's clock. */
export function expiresAt(sections: Sections): number {
  let last = 0
  for (const [windowMs, section] of sections) {
    if (section.kind === 'sliding-window') last = Math.max(last, (section.records.at(-1)?.[0] ?? 0) + windowMs + 1)
    else if (section.kind === 'fixed-window') last = Math.max(last, section.start + windowMs)
    else last = Math.max(last, Math.ceil((section.at + section.debt) / 1000))
  }
  return last
}

interface Window {
  readonly section: Section
  retryMs(cost: number): number
  add(cost: number): void
  giveBack(cost: number, at: number | undefined): void
  outcome(cost: number): RateOutcome
}

function openWindow(algorithm: Algorithm, rate: Rate, section: Section | undefined, us: number): Window {
  const own = section?.kind === algorithm ? section : undefined
  if (own?.kind === 'sliding-window') return new SlidingWindow(rate, own, us)
  if (own?.kind === 'fixed-window') return new FixedWindow(rate, own, us)
  if (own?.kind === 'token-bucket') return new TokenBucket(rate, own, us)
  if (algorithm === 'sliding-window') return new SlidingWindow(rate, { kind: algorithm, records: [] }, us)
  if (algorithm === 'fixed-window') return new FixedWindow(rate, { kind: algorithm, start: 0, units: 0 }, us)
  return new TokenBucket(rate, { kind: algorithm, at: us, debt: 0 }, us)
}

class SlidingWindow implements Window {
  readonly section: LogSection
  readonly #rate: Rate
  readonly #now: number
  #units: number

  constructor(rate: Rate, section: LogSection, us: number) {
    this.#rate = rate
    // A clock that went back must not let records return early.
    this.#now = Math.max(Math.floor(us / 1000), section.records.at(-1)?.[0] ?? 0)
    // Closed at both ends: a hit counts until a whole window lies between.
    section.records = section.records.filter(([at]) => at + rate.windowMs >= this.#now)
    this.section = section
    this.#units = section.records.reduce((sum, [, units]) => sum + units, 0)
  }

  retryMs(cost: number): number {
    let over = this.#units + cost - this.#rate.limit
    if (over <= 0) return 0
    for (const [at, units] of this.section.records) {
      over -= units
      if (over <= 0) return this.#returnsIn(at)
    }
    return Infinity
  }

  add(cost: number): void {
    const { records } = this.section
    const last = records.at(-1)
    if (last !== undefined && this.#joins(last[0])) records[records.length - 1] = [this.#now, last[1] + cost]
    else records.push([this.#now, cost])
    this.#units += cost
  }

  giveBack(cost: number, at: number | undefined): void {
    let left = cost
    this.section.records = this.section.records.flatMap(([time, units]): LogSection['records'] => {
      if (at !== undefined && !this.#holds(time, at)) return [[time, units]]
      const taken = Math.min(left, units)
      left -= taken
      return taken === units ? [] : [[time, units - taken]]
    })
    this.#units -= cost - left
  }

  outcome(cost: number): RateOutcome {
    const [oldest, newest] = [this.section.records[0], this.section.records.at(-1)]
    return {
      remaining: Math.max(0, this.#rate.limit - this.#units),
      resetMs: newest === undefined ? 0 : this.#returnsIn(newest[0]),
      retryMs: this.retryMs(cost),
      nextMs: oldest === undefined ? this.#rate.windowMs : this.#returnsIn(oldest[0]),
    }
  }

  #returnsIn(at: number): number {
    return at + this.#rate.windowMs + 1 - this.#now
  }

  #joins(newest: number): boolean {
    return newest === this.#now || (this.#rate.limit > EXACT_MAX && this.#slot(newest) === this.#slot(this.#now))
  }

  /** A record that hits shared has the time of the newest. */
  #holds(time: number, at: number): boolean {
    return time === at || (this.#rate.limit > EXACT_MAX && time > at && this.#slot(time) === this.#slot(at))
  }

  #slot(at: number): number {
    return Math.floor((at * SLOTS) / this.#rate.windowMs)
  }
}

class FixedWindow implements Window {
  readonly section: CounterSection
  readonly #rate: Rate
  readonly #now: number

  constructor(rate: Rate, section: CounterSection, us: number) {
    this.#rate = rate
    this.#now = Math.max(Math.floor(us / 1000), section.start)
    if (section.units > 0 && this.#now >= section.start + rate.windowMs) section.units = 0
    if (section.units === 0) section.start = this.#now
    this.section = section
  }

  retryMs(cost: number): number {
    if (this.section.units + cost <= this.#rate.limit) return 0
    return cost > this.#rate.limit ? Infinity : this.#endsIn()
  }

  add(cost: number): void {
    this.section.units += cost
  }

  giveBack(cost: number, at: number | undefined): void {
    if (at === undefined || at >= this.section.start) this.section.units = Math.max(0, this.section.units - cost)
  }

  outcome(cost: number): RateOutcome {
    const used = this.section.units > 0
    return {
      remaining: Math.max(0, this.#rate.limit - this.section.units),
      resetMs: used ? this.#endsIn() : 0,
      retryMs: this.retryMs(cost),
      nextMs: used ? this.#endsIn() : this.#rate.windowMs,
    }
  }

  #endsIn(): number {
    return this.section.start + this.#rate.windowMs - this.#now
  }
}

/** Debts are sums of fractions; units that differ by less than this are equal. */
const EPSILON = 1e-6

class TokenBucket implements Window {
  readonly section: BucketSection
  readonly #rate: Rate
  /** Microseconds in which one unit comes back. */
  readonly #unit: number

  constructor(rate: Rate, section: BucketSection, us: number) {
    this.#rate = rate
    this.#unit = (rate.windowMs * 1000) / rate.limit
    const now = Math.max(us, section.at)
    section.debt = Math.max(0, section.debt - (now - section.at))
    section.at = now
    this.section = section
  }

  retryMs(cost: number): number {
    const over = this.#used + cost - this.#rate.burst
    if (over <= EPSILON) return 0
    return cost > this.#rate.burst ? Infinity : this.#ms(over)
  }

  add(cost: number): void {
    this.section.debt += cost * this.#unit
  }

  giveBack(cost: number): void {
    this.section.debt = Math.max(0, this.section.debt - cost * this.#unit)
  }

  outcome(cost: number): RateOutcome {
    const used = this.#used
    return {
      remaining: Math.max(0, Math.floor(this.#rate.burst - used + EPSILON)),
      resetMs: used > EPSILON ? this.#ms(used) : 0,
      retryMs: this.retryMs(cost),
      nextMs: used > EPSILON ? this.#ms(used - Math.ceil(used - EPSILON) + 1) : this.#rate.windowMs,
    }
  }

  get #used(): number {
    return this.section.debt / this.#unit
  }

  #ms(units: number): number {
    return Math.ceil((units * this.#unit) / 1000 - EPSILON)
  }
}
