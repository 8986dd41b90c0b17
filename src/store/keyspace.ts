import { UnavailableError } from '../errors.js'
import { slotOf, SLOTS } from '../redis/command.js'
import type { RedisConnection } from './redis-commands.js'
import type { MatchKind, MatchStep } from './store.js'

/** First character of the group of a path in `Entry.groups`. Encoded group names do not have it. */
const PATH_MARK = '='

/** The implicit group of all entries of one path. */
export function pathGroup(path: string): string {
  return PATH_MARK + path
}

export function isPathGroup(group: string): boolean {
  return group.startsWith(PATH_MARK)
}

/** The path of its group. */
export function pathOfGroup(group: string): string {
  return group.slice(PATH_MARK.length)
}

/** Slots of a cluster that share one copy of the stamp of everything. Resharding mostly moves such ranges. */
const SLOTS_PER_COPY_BITS = 8

const COPIES = SLOTS >> SLOTS_PER_COPY_BITS

/** A hash tag for each range of slots, by brute force: the first numbers that fall into them. */
let tags: readonly string[] | undefined

function copyTags(): readonly string[] {
  if (tags !== undefined) return tags
  const found = new Map<number, string>()
  for (let number = 0; found.size < COPIES; number += 1) {
    const range = slotOf(String(number)) >> SLOTS_PER_COPY_BITS
    if (!found.has(range)) found.set(range, String(number))
  }
  tags = Array.from({ length: COPIES }, (_, range) => found.get(range) as string)
  return tags
}

/** A pattern of Redis in which `*` is any characters and everything else itself. */
export function globOf(pattern: string): RegExp {
  const literals = pattern.split('*').map((text) => text.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${literals.join('.*')}$`, 's')
}

/** What follows after a beginning, of the names that have it. */
export function namesUnder(start: string, names: Iterable<string>): readonly string[] {
  return Array.from(names)
    .filter((name) => name.startsWith(start))
    .map((name) => name.slice(start.length))
}

/** Names of one prefix's keys in Redis. Entry keys have no braces, so that a lease can share their slot. */
export class Keyspace {
  readonly clock: string
  readonly wake: string
  readonly lives: string
  readonly entries: string
  readonly groups: string

  /** `spread`: true on a cluster, where no single node should be read for every entry. */
  constructor(
    readonly prefix: string,
    private readonly spread = false,
  ) {
    this.clock = `${prefix}:clock`
    this.wake = `${prefix}:wake`
    this.lives = `${prefix}:lives`
    this.entries = `${prefix}:entry:`
    this.groups = `${prefix}:group:`
  }

  entry(key: string): string {
    return this.entries + key
  }

  /** The hash tag is the whole entry key, so a lease shares the slot of its entry. */
  lease(key: string): string {
    return `${this.prefix}:lease:{${this.entries}${key}}`
  }

  /** Keys of an entry, of its lease, and further ones. */
  entryAndLease(key: string, more: readonly string[] = []): string[] {
    return [this.entry(key), this.lease(key), ...more]
  }

  /** Channel of the wake-ups for requests that wait for a key. */
  wakeFor(key: string): [channel: string, key: string] {
    return [this.wake, key]
  }

  /**
   * Keys of the stamps of groups as an entry reads them. The group of a path shares the slot of the path's entry and
   * lease. The group of everything has a copy for each range of slots of a cluster: entries find it on their own node
   * (variants on that of their path, whose group they read as well), and one node that is away does not make the
   * entries of the others useless.
   */
  groupsOf(groups: readonly string[], key: string): string[] {
    return groups.map((name) => (name === '' && this.spread ? this.#copyFor(groups, key) : this.#group(name)))
  }

  #group(name: string): string {
    const isPath = name.startsWith(PATH_MARK)
    return this.groups + (isPath ? `{${this.entries}${name.slice(PATH_MARK.length)}}` : name)
  }

  #copyFor(groups: readonly string[], key: string): string {
    const path = groups.find((name) => name.startsWith(PATH_MARK))?.slice(PATH_MARK.length)
    return `${this.groups}{${copyTags()[slotOf(this.entry(path ?? key)) >> SLOTS_PER_COPY_BITS]}}`
  }

  /** What stands before and after the names of one kind. */
  around(kind: MatchKind): readonly string[] {
    return kind === 'entries' ? [this.entries] : kind === 'leases' ? this.lease('*').split('*') : [this.groups]
  }

  /** All keys of a group's stamp. */
  copies(name: string): readonly string[] {
    if (name !== '' || !this.spread) return [this.#group(name)]
    return copyTags().map((tag) => `${this.groups}{${tag}}`)
  }

  /** The group whose stamp stands in a key; undefined for any other key. The inverse of `copies`. */
  groupAt(key: string): string | undefined {
    if (!key.startsWith(this.groups)) return undefined
    const name = key.slice(this.groups.length)
    if (!name.startsWith('{')) return name
    return name.startsWith(this.entries, 1) ? pathGroup(name.slice(1 + this.entries.length, -1)) : ''
  }

  /** The group of a path, in the slot of its entry. */
  pathGroup(path: string): string {
    return this.#group(pathGroup(path))
  }

  /** A list of the variants of a path, in the slot of the path's entry. */
  variants(path: string, list: string): string {
    return `${this.prefix}:variants:{${this.entries}${path}}:${list}`
  }
}

/**
 * SCAN over the keys of all masters, one step of one of them at a time. A cursor is `<master>.<its own cursor>`, where
 * masters are known by a slot that they had at the beginning: after a failover it leads to the successor.
 */
export class Scan {
  #masters: readonly Master[] = []

  /** `leavesOut`: goes on with the other primaries of a cluster where one does not answer. For lists of operators. */
  constructor(
    private readonly connection: RedisConnection,
    private readonly keys: Keyspace,
    private readonly leavesOut = false,
  ) {}

  /** One step over the entries (leases, groups) whose keys match. Returns the keys as the cache knows them. */
  async match(kind: MatchKind, pattern: string, cursor: string, count: number): Promise<MatchStep> {
    const [head = '', tail = ''] = this.keys.around(kind)
    const step = await this.step(cursor, `${head.replace(/[\\*?[\]]/g, '\\$&')}${pattern}${tail}`, count)
    return { ...step, keys: step.keys.map((name) => name.slice(head.length, name.length - tail.length)) }
  }

  /** One step over all keys whose names match. */
  async step(cursor: string, pattern: string, count: number): Promise<MatchStep> {
    if (this.connection.topology !== 'cluster') return this.#scan(cursor, pattern, count, undefined)
    // A cursor may come from another process, which has shown the pages before.
    if (cursor === '0' || this.#masters.length === 0) this.#masters = await this.#mastersBySlot()
    const [master = '0', own = '0'] = (cursor === '0' ? `${this.#masters[0]?.slot}.0` : cursor).split('.')
    const slot = Number(master)
    const step = await this.#scan(own, pattern, count, keyInSlot(slot)).catch((error: unknown) =>
      this.#leftOut(slot, error),
    )
    if (step.cursor !== '0') return { ...step, cursor: `${slot}.${step.cursor}` }
    const next = this.#masters.find((other) => other.slot > slot)
    return { ...step, cursor: next === undefined ? '0' : `${next.slot}.0` }
  }

  /** Rejects where no other master answers either. */
  async #leftOut(slot: number, error: unknown): Promise<MatchStep> {
    if (!this.leavesOut || !(error instanceof UnavailableError)) throw error
    this.#masters = await this.#mastersBySlot()
    return { cursor: '0', keys: [], away: this.#masters.findLast((master) => master.slot <= slot)?.address ?? '' }
  }

  async #scan(cursor: string, pattern: string, count: number, key: string | undefined): Promise<MatchStep> {
    const reply = await this.connection.execute(['SCAN', cursor, 'MATCH', pattern, 'COUNT', String(count)], key)
    const [next, found] = reply as unknown as [Buffer, Buffer[]]
    return { cursor: next.toString('latin1'), keys: found.map((name) => name.toString('latin1')) }
  }

  /** The masters in the order of their lowest slots. */
  async #mastersBySlot(): Promise<readonly Master[]> {
    const ranges = (await this.connection.execute(['CLUSTER', 'SLOTS'], undefined)) as unknown as SlotRange[]
    const masters = new Map<string, Master>()
    for (const [start, , [ip, port, id]] of ranges) {
      const name = id.toString('latin1')
      const slot = Math.min(masters.get(name)?.slot ?? SLOTS, start)
      masters.set(name, { slot, address: `${ip.toString('latin1')}:${port}` })
    }
    return [...masters.values()].toSorted((a, b) => a.slot - b.slot)
  }
}

/** A master of a cluster and its lowest slot. */
interface Master {
  readonly slot: number
  readonly address: string
}

type SlotRange = readonly [start: number, end: number, master: readonly [ip: Buffer, port: number, id: Buffer]]

/** A key in this slot, by trial: about as many tries as there are slots. */
function keyInSlot(slot: number): string {
  let tries = 0
  while (slotOf(tries.toString(36)) !== slot) tries += 1
  return tries.toString(36)
}
