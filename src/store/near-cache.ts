import type { Entry, GroupStamp } from './entry.js'
import { bytesOfKept, bytesOfStamp, EntryBudget, EntryTier } from './entry-tier.js'
import { Frequencies } from './frequencies.js'
import { isPathGroup, pathGroup, pathOfGroup } from './keyspace.js'
import type { NearStats } from '../telemetry/stats.js'
import type { KeySlot, LocalReader, ReadResult } from './store.js'

/** The part of the bytes that stamps of groups may take. */
const STAMPS_PART = 1 / 8

/** Changes remembered one by one while reads are in flight; beyond that all of these reads are given and not kept. */
const CHANGES_MAX = 10_000

/** A moment of the near cache, from which later changes can be determined. */
export type Moment = number

/** No moment: what is read now is not kept. */
const NEVER: Moment = -1

/**
 * Entries and stamps of groups that this process has read from Redis. Valid only while Redis reports every write of a
 * group's key, so it is empty while `trusted` is false.
 *
 * A reply in flight when a change of the same group is reported may be older than the change. Such a reply is returned
 * to its reader, who began before, and not kept.
 */
export class NearCache implements LocalReader, NearStats {
  hits = 0
  bumps = 0
  /** Entries that were read and not kept, because those they would replace are requested more often. */
  refused = 0
  /** How often trust ended. */
  losses = 0
  readonly #budget: EntryBudget
  readonly #tier: EntryTier
  readonly #frequencies: Frequencies
  readonly #stamps = new Map<string, GroupStamp>()
  readonly #stampsMax: number
  #stampBytes = 0
  #trusted = false
  #reading = 0
  /** Counts changes. */
  #moment: Moment = 0
  /** When each name was changed last, while reads are in flight. */
  readonly #changes = new Map<string, Moment>()
  /** Nothing that was read before this moment is kept. */
  #ignoredUntil: Moment = 0

  constructor(maxBytes: number, now: () => number) {
    this.#stampsMax = Math.floor(maxBytes * STAMPS_PART)
    this.#budget = new EntryBudget(maxBytes - this.#stampsMax)
    this.#tier = new EntryTier(this.#budget, '', now)
    this.#frequencies = new Frequencies(this.#budget.maxBytes)
  }

  /** Whether Redis reports every change. */
  get trusted(): boolean {
    return this.#trusted
  }

  /** Bytes that are used. */
  get bytes(): number {
    return this.#budget.bytes + this.#stampBytes
  }

  get entries(): number {
    return this.#tier.size
  }

  entry(ref: KeySlot): Entry | undefined {
    return this.#tier.find(ref)
  }

  stamp(group: string): GroupStamp | undefined {
    return this.#stamps.get(group)
  }

  /** Reporting of changes has begun or ended; in both cases everything here is dropped. */
  trust(trusted: boolean): void {
    if (this.#trusted && !trusted) this.losses += 1
    this.#trusted = trusted
    this.clear()
  }

  /** Anything may have changed. */
  clear(): void {
    this.#moment += 1
    this.#ignoredUntil = this.#moment
    this.#changes.clear()
    this.#tier.clear()
    this.#stamps.clear()
    this.#stampBytes = 0
    this.bumps += 1
  }

  /** These groups were changed; that of a path stands for the plain entry there as well. */
  changed(groups: readonly string[]): void {
    this.#moment += 1
    for (const group of groups) {
      if (this.#reading > 0) this.#changes.set(group, this.#moment)
      this.#forgetStamp(group)
      if (isPathGroup(group)) this.#tier.drop(pathOfGroup(group))
    }
    if (this.#changes.size <= CHANGES_MAX) return
    this.#ignoredUntil = this.#moment
    this.#changes.clear()
  }

  /** A read begins; it must end with `keep` or `end`. */
  begin(): Moment {
    this.#reading += 1
    return this.#trusted ? this.#moment : NEVER
  }

  end(): void {
    this.#reading -= 1
    if (this.#reading === 0) this.#changes.clear()
  }

  /** A read that began at this moment has its reply. */
  keep(since: Moment, keys: readonly string[], groups: readonly string[], { entries, stamps }: ReadResult): void {
    if (since >= this.#ignoredUntil) {
      for (const [index, group] of groups.entries()) this.#keepStamp(since, group, stamps[index])
      for (const [index, key] of keys.entries()) this.#keepEntry(since, key, entries[index])
    }
    this.end()
  }

  #isUnchanged(since: Moment, group: string): boolean {
    return (this.#changes.get(group) ?? NEVER) <= since
  }

  #keepStamp(since: Moment, group: string, stamp: GroupStamp | undefined): void {
    if (stamp === undefined || !this.#isUnchanged(since, group)) return
    const known = this.#stamps.get(group)
    if (known !== undefined && isSame(known, stamp)) return
    this.#forgetStamp(group)
    this.#stamps.set(group, stamp)
    this.#stampBytes += bytesOfStamp(group)
    while (this.#stampBytes > this.#stampsMax) this.#forgetStamp(this.#stamps.keys().next().value ?? '')
  }

  #forgetStamp(group: string): void {
    if (!this.#stamps.delete(group)) return
    this.#stampBytes -= bytesOfStamp(group)
    this.bumps += 1
  }

  /** A record of variants is not kept: a fill of another process may replace it, and fills are not reported. */
  #keepEntry(since: Moment, key: string, entry: Entry | undefined): void {
    if (entry === undefined || entry.kind === 'variants' || !this.#isUnchanged(since, pathGroup(key))) return
    if (this.#tier.at(key) === undefined && !this.#admits(key, entry)) this.refused += 1
    else this.#tier.keep(key, entry, entry.freshUntil)
  }

  /** While there is room everything is kept; then what is asked for more often than the entry that would have to go. */
  #admits(key: string, entry: Entry): boolean {
    const asked = this.#frequencies.add(key)
    if (this.#frequencies.isOld) this.#age()
    if (this.#budget.bytes + bytesOfKept(key, entry) <= this.#budget.maxBytes) return true
    const { last } = this.#budget
    return last === undefined || asked > this.#frequencies.ofKept(last)
  }

  /** What was hot long ago must be able to go. */
  #age(): void {
    this.#frequencies.age()
    for (const kept of this.#tier.values()) kept.uses >>= 1
  }
}

function isSame(one: GroupStamp, other: GroupStamp): boolean {
  return one.hard === other.hard && one.soft === other.soft && one.incarnation === other.incarnation
}
