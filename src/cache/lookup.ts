import type { MaybePromise } from '../maybe-promise.js'
import { type Entry, isSoftened, isValid, type Stamp } from '../store/entry.js'
import type { Found, LocalReader, Store } from '../store/store.js'
import type { EntryLookup, EntryRef } from './entry-ref.js'

/** Reads one place. Synchronous where the store is: a hit from memory costs no turn of the event loop. */
export function lookupEntry(store: Store, place: EntryRef, now: number): EntryLookup | Promise<EntryLookup> {
  const hit = store.local === undefined || place.base !== undefined ? undefined : lookHere(store.local, place, now)
  if (hit !== undefined) return hit
  const keys = place.base === undefined ? [place.key] : [place.base, place.key]
  try {
    const found = store.read(keys, place.groups)
    if (!(found instanceof Promise)) return assess(store, place, found, now)
    return found.then((answer) => assess(store, place, answer, now), outage)
  } catch (error) {
    return outage(error)
  }
}

/** Reads many places in one trip; groups that their entries were given further, in one more. */
export function lookupEntries(
  store: Store,
  places: readonly EntryRef[],
  now: number,
): MaybePromise<readonly EntryLookup[]> {
  const groups = groupsOf(places)
  const assessAll = (found: Found): MaybePromise<readonly EntryLookup[]> => {
    const stampsOf = stampsByPlace(groups, found.stamps)
    const looks = places.map((place, index) =>
      assess(store, place, { entries: [found.entries[index]], stamps: stampsOf(place) }, now),
    )
    return looks.some((one) => one instanceof Promise)
      ? Promise.all(looks.map(async (one) => one))
      : (looks as EntryLookup[])
  }
  const nobodyKnows = (error: unknown): EntryLookup[] => places.map(() => outage(error))
  try {
    const keys = places.map(({ key }) => key)
    const found = store.read(keys, groups)
    return found instanceof Promise ? found.then(assessAll, nobodyKnows) : assessAll(found)
  } catch (error) {
    return nobodyKnows(error)
  }
}

/** The groups of all places, each once. The usual case is that they all ask for the same list. */
function groupsOf(places: readonly EntryRef[]): readonly string[] {
  const first = places[0]?.groups ?? NONE
  if (places.every(({ groups }) => groups === first)) return first
  return [...new Set(places.flatMap(({ groups }) => groups))]
}

function stampsByPlace(
  groups: readonly string[],
  stamps: readonly (Stamp | undefined)[],
): (place: EntryRef) => readonly (Stamp | undefined)[] {
  const byGroup = new Map(groups.map((group, index) => [group, stamps[index]]))
  return (place) => (place.groups === groups ? stamps : place.groups.map((group) => byGroup.get(group)))
}

/** A hit in this process' memory: the same rules as those of `assess` and validity, in one pass and without a list. */
function lookHere(local: LocalReader, place: EntryRef, now: number): EntryLookup | undefined {
  const entry = local.entry(place)
  if (entry === undefined || now >= entry.freshUntil) return undefined
  const { groups } = entry
  if (groups !== place.groups && !belongs(entry, place, undefined)) return undefined
  let softened = false
  for (let index = 0; index < groups.length; index += 1) {
    const stamp = local.stamp(groups[index] as string)
    if (stamp === undefined || stamp.hard > entry.stamp) return undefined
    if (stamp.soft > entry.stamp) softened = true
  }
  return { state: 'valid', entry, softened }
}

function outage(error: unknown): EntryLookup {
  return { state: 'outage', error }
}

function assess(store: Store, place: EntryRef, found: Found, now: number): EntryLookup | Promise<EntryLookup> {
  const marker = place.base === undefined ? undefined : found.entries[0]
  const entry = found.entries[place.base === undefined ? 0 : 1]
  if (entry === undefined || !belongs(entry, place, marker)) return absent(entry, marker, place, found.stamps)
  if (!isValid(entry, found.stamps, now)) return absent(entry, marker, place, found.stamps)
  const others = otherGroups(entry, place)
  if (others.length === 0) return valid(entry, isSoftened(entry, found.stamps))
  return assessOthers(store, entry, others, found, place, now)
}

/** An entry that lacks a group its route declares now was stored under another declaration; doubt is a miss. */
function belongs(entry: Entry, place: EntryRef, marker: Entry | undefined): boolean {
  if (place.base !== undefined && (marker?.kind !== 'variants' || entry.family !== marker.family)) return false
  const groups = entry.groups
  for (let index = 0; index < place.groups.length; index += 1) {
    const group = place.groups[index] as string
    if (groups[index] !== group && !groups.includes(group)) return false
  }
  return true
}

/** Groups that the handler added when the entry was made. */
function otherGroups(entry: Entry, place: EntryRef): readonly string[] {
  return entry.groups.length === place.groups.length
    ? NONE
    : entry.groups.filter((group) => !place.groups.includes(group))
}

const NONE: readonly string[] = []

async function assessOthers(
  store: Store,
  entry: Entry,
  others: readonly string[],
  found: Found,
  place: EntryRef,
  now: number,
): Promise<EntryLookup> {
  const read = await readOthers(store, others)
  if ('state' in read) return read
  const stamps = read
  const softened = isSoftened(entry, found.stamps) || isSoftened(entry, stamps)
  return isValid(entry, stamps, now) ? valid(entry, softened) : absent(entry, found.entries[0], place, found.stamps)
}

async function readOthers(
  store: Store,
  groups: readonly string[],
): Promise<readonly (Stamp | undefined)[] | EntryLookup> {
  try {
    return (await store.read([], groups)).stamps
  } catch (error) {
    return outage(error)
  }
}

function valid(entry: Entry, softened: boolean): EntryLookup {
  return { state: 'valid', entry, softened }
}

function absent(
  seen: Entry | undefined,
  marker: Entry | undefined,
  place: EntryRef,
  stamps: readonly (Stamp | undefined)[],
): EntryLookup {
  const absentGroups = place.groups.filter((_, index) => stamps[index] === undefined)
  return { state: 'absent', seen, marker: place.base === undefined ? undefined : marker, absentGroups }
}
