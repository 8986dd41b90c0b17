import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import type { CommandBudget } from '../redis/deadline.js'
import { allows, type Entry, type GroupStamp, isSoftened, isValid, stampFor } from '../store/entry.js'
import type { LocalReader, ReadResult, Store } from '../store/store.js'

/** Where one entry is. */
export class EntryRef {
  /** Kept by the store: where it found the entry last. */
  slot?: unknown = undefined

  constructor(
    readonly key: string,
    /** The key of the path that the entry is a variant of; the same as `key` for a plain entry or a value. */
    readonly path: string,
    /** Encoded groups that the entry must carry: the prefix's first. A variant carries its path's group. */
    readonly groups: readonly string[],
  ) {}
}

export type EntryLookup =
  /** All groups allow it, and it is still of use. `softened`: invalidated softly, so not fresh. */
  | { readonly state: 'valid'; readonly entry: Entry; readonly softened: boolean }
  | Absent
  /** The store could not answer. */
  | { readonly state: 'outage'; readonly error: unknown }

export interface Absent {
  readonly state: 'absent'
  /** The unusable entry at the key; the lease is granted only while it is there. `any`: the caller did not look. */
  readonly seen: Entry | 'any' | undefined
  readonly absentGroups: readonly string[]
}

/** An entry that readers may have. A class: V8 moves literals of a busy place to old space. */
class ValidEntry {
  readonly state = 'valid'

  constructor(
    readonly entry: Entry,
    readonly softened: boolean,
  ) {}
}

/** For a fill that replaces any entry. */
export function unseen(groups: readonly string[]): Absent {
  return { state: 'absent', seen: 'any', absentGroups: groups }
}

/** For a fill that replaces an entry its reader may not use. */
export function replacing(entry: Entry): Absent {
  return { state: 'absent', seen: entry, absentGroups: [] }
}

/** Reads one entry. Synchronous where the store is: a hit from memory costs no turn of the event loop. */
export function lookupEntry(
  store: Store,
  ref: EntryRef,
  now: number,
  budget?: CommandBudget,
): MaybePromise<EntryLookup> {
  const hit = store.local === undefined ? undefined : localHit(store.local, ref, now)
  if (hit !== undefined) return hit
  try {
    const reading = store.read([ref.key], ref.groups, budget)
    if (!isPromise(reading)) return evaluateRead(store, ref, reading, now, budget)
    // Both at once: a promise less than with `catch` behind it.
    return reading.then((result) => evaluateRead(store, ref, result, now, budget), outage)
  } catch (error) {
    return outage(error)
  }
}

function outage(error: unknown): EntryLookup {
  return { state: 'outage', error }
}

/** What was read for one entry. Groups that it was given by its handler are read in one more trip. */
function evaluateRead(
  store: Store,
  ref: EntryRef,
  { entries: [entry], stamps }: ReadResult,
  now: number,
  budget: CommandBudget | undefined,
): MaybePromise<EntryLookup> {
  if (entry === undefined || !carries(entry, ref)) return absent(entry, ref, stamps)
  const { groups } = entry
  // Nearly always the entry has the groups of its reader and no other, in the same order.
  if (groups.length === ref.groups.length && groups.every((group, index) => group === ref.groups[index]))
    return lookupOf(entry, ref, stamps, stamps, now)
  const found = groups.map((group) => stamps[ref.groups.indexOf(group)])
  const more = groups.filter((group) => !ref.groups.includes(group))
  const whole = (further: ReadResult): EntryLookup => {
    more.forEach((group, index) => (found[groups.indexOf(group)] = further.stamps[index]))
    return lookupOf(entry, ref, found, stamps, now)
  }
  if (more.length === 0) return lookupOf(entry, ref, found, stamps, now)
  const reading = store.read(NONE, more, budget)
  return isPromise(reading) ? reading.then(whole, outage) : whole(reading)
}

/** `found` are the stamps of the entry's groups, `stamps` those of its reader's. */
function lookupOf(
  entry: Entry,
  ref: EntryRef,
  found: readonly (GroupStamp | undefined)[],
  stamps: readonly (GroupStamp | undefined)[],
  now: number,
): EntryLookup {
  const { groups } = entry
  return isValid(entry, groups, found, now)
    ? new ValidEntry(entry, isSoftened(entry, groups, found))
    : absent(entry, ref, stamps)
}

function absent(entry: Entry | undefined, { groups }: EntryRef, stamps: readonly (GroupStamp | undefined)[]): Absent {
  return { state: 'absent', seen: entry, absentGroups: groups.filter((_, index) => stamps[index] === undefined) }
}

/** A fresh entry in this process's memory: the rules of `usable` in one pass and without a list. */
function localHit(local: LocalReader, ref: EntryRef, now: number): EntryLookup | undefined {
  const entry = local.entry(ref)
  if (entry === undefined || now >= entry.freshUntil) return undefined
  if (!carries(entry, ref)) return undefined
  let softened = entry.softened === true
  for (const group of entry.groups) {
    const stamp = local.stamp(group)
    if (stamp === undefined || !allows(entry, group, stamp)) return undefined
    if (stamp.soft > stampFor(entry, group)) softened = true
  }
  local.hits += 1
  return new ValidEntry(entry, softened)
}

/** A fresh entry that was found in this process's memory, and what has to be as it was for it to be that again. */
export class RememberedEntry {
  readonly #local: LocalReader
  /** The store finds every entry in a slot of its own. */
  readonly #slot: unknown
  readonly #bumps: number

  private constructor(
    readonly ref: EntryRef,
    local: LocalReader,
  ) {
    this.#local = local
    this.#slot = ref.slot
    this.#bumps = local.bumps
  }

  /** Undefined where the entry was not found there. */
  static of(local: LocalReader | undefined, ref: EntryRef, entry: Entry): RememberedEntry | undefined {
    return local === undefined || ref.slot === undefined || local.entry(ref) !== entry
      ? undefined
      : new RememberedEntry(ref, local)
  }

  /** The same entry, while no group was invalidated since; whether it is fresh is for the caller to say. */
  recall(): Entry | undefined {
    const local = this.#local
    if (local.bumps !== this.#bumps) return undefined
    const entry = local.entry(this.ref)
    if (entry === undefined || this.ref.slot !== this.#slot) return undefined
    local.hits += 1
    return entry
  }
}

/** Reads many entries in one trip; groups that some of them were given by their handlers, in one more. */
export function lookupEntries(
  store: Store,
  refs: readonly EntryRef[],
  now: number,
  budget?: CommandBudget,
): MaybePromise<readonly EntryLookup[]> {
  const keys = refs.map(({ key }) => key)
  const groups = groupsOf(refs)
  const failed = (error: unknown): readonly EntryLookup[] => refs.map(() => outage(error))
  try {
    const reading = chain(store.read(keys, groups, budget), ({ entries, stamps }) => {
      const known = new Map(groups.map((group, index) => [group, stamps[index]]))
      const more = entries.flatMap((entry) => entry?.groups.filter((group) => !known.has(group)) ?? NONE)
      const evaluate = () => refs.map((ref, index) => evaluateEntry(entries[index], ref, known, now))
      if (more.length === 0) return evaluate()
      return chain(store.read(NONE, more, budget), (further) => {
        more.forEach((group, index) => known.set(group, further.stamps[index]))
        return evaluate()
      })
    })
    return isPromise(reading) ? reading.catch(failed) : reading
  } catch (error) {
    return failed(error)
  }
}

/** The groups of all references, each once. The usual case is that they have the same list. */
function groupsOf(refs: readonly EntryRef[]): readonly string[] {
  const first = refs[0]?.groups ?? NONE
  if (refs.every(({ groups }) => groups === first)) return first
  return [...new Set(refs.flatMap(({ groups }) => groups))]
}

const NONE: readonly string[] = []

function evaluateEntry(
  entry: Entry | undefined,
  ref: EntryRef,
  known: ReadonlyMap<string, GroupStamp | undefined>,
  now: number,
): EntryLookup {
  const stamps = ref.groups.map((group) => known.get(group))
  if (entry === undefined || !carries(entry, ref)) return absent(entry, ref, stamps)
  const found = entry.groups.map((group) => known.get(group))
  return lookupOf(entry, ref, found, stamps, now)
}

/** An entry that lacks a group of its reader was stored under another declaration, so it counts as absent. */
function carries({ groups }: Entry, ref: EntryRef): boolean {
  return groups === ref.groups || ref.groups.every((group) => groups.includes(group))
}
