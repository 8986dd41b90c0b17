/**
 * The keys of one prefix and the scripts that the store runs on them, as in src/store/lua. Each function is one script,
 * so it is one step: nothing comes between its reads and its writes.
 */

export type Mode = 'hard' | 'soft'

export interface Stamp {
  readonly incarnation: number
  readonly at: number
}

export interface GroupStamp {
  readonly incarnation: number
  readonly hard: number
  readonly soft: number
}

/** A group has a stamp, a mark, or nothing. */
export type GroupValue = GroupStamp | { readonly mark: string }

export interface StoredEntry {
  /** Version of the source that it was made from. */
  readonly version: number
  readonly incarnation: number
  readonly stamp: number
  readonly writeStamp: number
  readonly ownGroups: readonly string[]
  readonly groups: readonly string[]
  readonly softened: boolean
}

export interface Server {
  /** The server's TIME. It stands still: a clock that is ahead of it is the hard case. */
  time: number
  clock?: Stamp | undefined
  /** Clocks made so far; stands for the random number of the call that makes one. */
  incarnations: number
  groups: Record<string, GroupValue>
  entries: Record<string, StoredEntry>
  /** Token of the fill that holds the lease of a key, or a note. */
  leases: Record<string, string>
}

export const NOTE = 'note'

export function clock(server: Server, floor?: number): Stamp {
  let found = server.clock
  if (found === undefined) {
    server.incarnations += 1
    found = { incarnation: server.incarnations, at: server.time }
  }
  const at = floor === undefined ? found.at : Math.max(found.at + 1, server.time, floor + 1)
  server.clock = { incarnation: found.incarnation, at }
  return server.clock
}

/** The stamp of a group; undefined where it is missing for this incarnation. */
export function stampOf(value: GroupValue | undefined, incarnation: number): GroupStamp | undefined {
  return value === undefined || 'mark' in value || value.incarnation !== incarnation ? undefined : value
}

export function newestOf(stamp: GroupStamp | undefined): number {
  return stamp === undefined ? 0 : Math.max(stamp.hard, stamp.soft)
}

function ensureGroups(server: Server, groups: readonly string[], { incarnation, at }: Stamp): void {
  for (const group of groups)
    if (stampOf(server.groups[group], incarnation) === undefined)
      server.groups[group] = { incarnation, hard: at, soft: 0 }
}

export function ensure(server: Server, groups: readonly string[]): Stamp {
  const stamp = clock(server)
  ensureGroups(server, groups, stamp)
  return stamp
}

export function mark(server: Server, group: string, nonce: string): GroupValue {
  const value = server.groups[group] ?? { mark: nonce }
  server.groups[group] = value
  return value
}

export function settle(server: Server, group: string, seen: GroupValue, { incarnation, at }: Stamp): GroupValue | null {
  if (JSON.stringify(server.groups[group]) === JSON.stringify(seen))
    server.groups[group] = { incarnation, hard: at, soft: 0 }
  return server.groups[group] ?? null
}

/** Returns what stood there; a missing group stays missing. Nothing changes where it is not older than the stamp. */
export function bump(server: Server, group: string, { incarnation, at }: Stamp, mode: Mode): GroupStamp | undefined {
  const before = stampOf(server.groups[group], incarnation)
  if (before === undefined) delete server.groups[group]
  else if (at > newestOf(before)) server.groups[group] = { ...before, [mode]: at }
  return before
}

export function invalidate(server: Server, groups: readonly string[], mode: Mode): Stamp {
  const values = groups.map((group) => server.groups[group])
  const floor = Math.max(0, ...values.map((value) => (value === undefined || 'mark' in value ? 0 : newestOf(value))))
  const stamp = clock(server, floor)
  for (const group of groups) bump(server, group, stamp, mode)
  return stamp
}

export type Acquired = { readonly granted: Stamp | null } | { readonly refused: string }

/** `groups`: on one server, where the clock and the groups are in the script as well. */
export function acquire(
  server: Server,
  key: string,
  token: string,
  seen: StoredEntry | null,
  groups?: readonly string[],
): Acquired {
  if (server.leases[key] !== undefined) return { refused: 'held' }
  if (JSON.stringify(server.entries[key] ?? null) !== JSON.stringify(seen)) return { refused: 'changed' }
  server.leases[key] = token
  return { granted: groups === undefined ? null : ensure(server, groups) }
}

/** SET NX: the lease of a key, where nobody has it and there is no note. */
export function claim(server: Server, key: string, token: string): boolean {
  if (server.leases[key] !== undefined) return false
  server.leases[key] = token
  return true
}

/**
 * The end of a fill. Where all groups have stamps of the entry's incarnation the clock is not asked; otherwise they are
 * created by `publish`.
 */
export function fill(
  server: Server,
  key: string,
  token: string,
  entry: StoredEntry,
  groups: readonly string[] = [],
): boolean {
  const stamps = groups.map((group) => stampOf(server.groups[group], entry.incarnation))
  if (stamps.includes(undefined)) return publish(server, key, token, entry, groups)
  if (server.leases[key] !== token) return false
  const isStored = stamps.every((stamp) => stamp !== undefined && stamp.hard <= entry.stamp)
  if (isStored) server.entries[key] = entry
  delete server.leases[key]
  return isStored
}

export function publish(
  server: Server,
  key: string,
  token: string | undefined,
  entry: StoredEntry,
  groups?: readonly string[],
): boolean {
  if (token !== undefined && server.leases[key] !== token) return false
  let isStored = true
  if (groups !== undefined) {
    const { incarnation } = ensure(server, groups)
    const isAllowed = groups.every((group) => (stampOf(server.groups[group], incarnation)?.hard ?? 0) <= entry.stamp)
    isStored = token === undefined || (incarnation === entry.incarnation && isAllowed)
  }
  if (isStored) server.entries[key] = entry
  delete server.leases[key]
  return isStored
}

export function release(server: Server, key: string, token: string, leavesNote: boolean): void {
  if (server.leases[key] !== token) return
  if (leavesNote) server.leases[key] = NOTE
  else delete server.leases[key]
}

export function pathGroup(path: string): string {
  return `=${path}`
}

/** `stamp`: on a cluster, where the clock is not in the script. */
export function evict(server: Server, path: string, mode: Mode, given?: Stamp): GroupStamp | undefined {
  const group = server.groups[pathGroup(path)]
  const floor = group === undefined || 'mark' in group ? 0 : newestOf(group)
  const stamp = given ?? clock(server, floor)
  const entry = server.entries[path]
  if (mode === 'hard') delete server.entries[path]
  else if (entry !== undefined) server.entries[path] = { ...entry, softened: true }
  delete server.leases[path]
  return bump(server, pathGroup(path), stamp, mode)
}

export function commit(
  server: Server,
  path: string,
  begun: number,
  own: Stamp,
  entry: StoredEntry | undefined,
): { readonly isUntouched: boolean; readonly before: GroupStamp | undefined } {
  const before = bump(server, pathGroup(path), own, 'hard')
  const isUntouched = before !== undefined && newestOf(before) <= begun
  if (isUntouched && entry !== undefined) server.entries[path] = entry
  else delete server.entries[path]
  delete server.leases[path]
  return { isUntouched, before }
}

/** What a reader may use: the rule of isValid and isSoftened in src/store/entry.ts. */
export function judge(
  entry: StoredEntry | undefined,
  stamps: Record<string, GroupValue | null | undefined>,
): { readonly version: number; readonly isFresh: boolean } | undefined {
  if (entry === undefined) return undefined
  let isFresh = !entry.softened
  for (const group of entry.groups) {
    const stamp = stampOf(stamps[group] ?? undefined, entry.incarnation)
    const point = entry.ownGroups.includes(group) ? entry.writeStamp : entry.stamp
    if (stamp === undefined || stamp.hard > point) return undefined
    if (stamp.soft > point) isFresh = false
  }
  return { version: entry.version, isFresh }
}
