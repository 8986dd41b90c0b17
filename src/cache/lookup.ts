import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import type { CommandBudget } from '../redis/deadline.js'
import { allows, type Entry, type GroupStamp, isSoftened, isValid } from '../store/entry.js'
import type { LocalReader, Store } from '../store/store.js'
import type { EntryLookup, EntryRef } from './entry-ref.js'

type StampOf = (group: string) => GroupStamp | undefined

/** Reads one entry. Synchronous where the store is: a hit from memory costs no turn of the event loop. */
export function lookupEntry(
  store: Store,
  ref: EntryRef,
  now: number,
  budget?: CommandBudget,
): MaybePromise<EntryLookup> {
  const hit = store.local === undefined ? undefined : localHit(store.local, ref, now)
  if (hit !== undefined) return hit
  return chain(lookupEntries(store, [ref], now, budget), ([lookup]) => lookup ?? outage(undefined))
}

/** A fresh entry in this process's memory: the rules of `usable` in one pass and without a list. */
function localHit(local: LocalReader, ref: EntryRef, now: number): EntryLookup | undefined {
  const entry = local.entry(ref)
  // Those that a write-through stored are rare, and compared with two stamps.
  if (entry === undefined || now >= entry.freshUntil || entry.ownGroups.length > 0) return undefined
  if (!carries(entry, ref)) return undefined
  let softened = entry.softened === true
  for (const group of entry.groups) {
    const stamp = local.stamp(group)
    if (stamp === undefined || !allows(entry, group, stamp)) return undefined
    if (stamp.soft > entry.stamp) softened = true
  }
  return { state: 'valid', entry, softened }
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

/** The groups of all places, each once. The usual case is that they have the same list. */
function groupsOf(refs: readonly EntryRef[]): readonly string[] {
  const first = refs[0]?.groups ?? NONE
  if (refs.every(({ groups }) => groups === first)) return first
  return [...new Set(refs.flatMap(({ groups }) => groups))]
}

const NONE: readonly string[] = []

function evaluateEntry(
  entry: Entry | undefined,
  ref: EntryRef,
  stamps: ReadonlyMap<string, GroupStamp | undefined>,
  now: number,
): EntryLookup {
  const hit = entry === undefined ? undefined : usable(entry, ref, (group) => stamps.get(group), now)
  if (hit !== undefined) return hit
  return { state: 'absent', seen: entry, absentGroups: ref.groups.filter((group) => stamps.get(group) === undefined) }
}

/** An entry that lacks a group of its reader was stored under another declaration, so it counts as absent. */
function carries({ groups }: Entry, ref: EntryRef): boolean {
  return groups === ref.groups || ref.groups.every((group) => groups.includes(group))
}

function usable(entry: Entry, ref: EntryRef, stampOf: StampOf, now: number): EntryLookup | undefined {
  if (!carries(entry, ref)) return undefined
  const { groups } = entry
  const stamps = groups.map(stampOf)
  if (!isValid(entry, groups, stamps, now)) return undefined
  return { state: 'valid', entry, softened: isSoftened(entry, groups, stamps) }
}

function outage(error: unknown): EntryLookup {
  return { state: 'outage', error }
}
