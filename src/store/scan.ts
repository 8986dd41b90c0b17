import { slotOf, SLOTS } from '../redis/command.js'
import { decodeEntry, decodeGroupStamp } from './codec.js'
import { type Entry, type GroupStamp, isValid } from './entry.js'
import type { Keyspace } from './keyspace.js'
import type { RedisConnection } from './redis-commands.js'
import type { MatchKind, MatchStep, SweepStep } from './store.js'

export interface ScanStep {
  /** Cursor of the next step; `'0'` at the end. */
  readonly cursor: string
  readonly keys: readonly string[]
}

/**
 * SCAN over the keys of all masters, one step of one of them at a time. A cursor is `<master>.<its own cursor>`, where
 * masters are known by a slot that they had at the beginning: after a failover it leads to the successor.
 */
export class Scan {
  readonly #connection: RedisConnection
  #slots: readonly number[] = []

  constructor(connection: RedisConnection) {
    this.#connection = connection
  }

  async step(cursor: string, pattern: string, count: number): Promise<ScanStep> {
    if (this.#connection.topology !== 'cluster') return this.#scan(cursor, pattern, count, undefined)
    if (cursor === '0') this.#slots = await this.#mastersBySlot()
    const [master = '0', own = '0'] = (cursor === '0' ? `${this.#slots[0]}.0` : cursor).split('.')
    const slot = Number(master)
    const step = await this.#scan(own, pattern, count, keyInSlot(slot))
    if (step.cursor !== '0') return { ...step, cursor: `${slot}.${step.cursor}` }
    const next = this.#slots.find((other) => other > slot)
    return { ...step, cursor: next === undefined ? '0' : `${next}.0` }
  }

  async #scan(cursor: string, pattern: string, count: number, key: string | undefined): Promise<ScanStep> {
    const reply = await this.#connection.execute(['SCAN', cursor, 'MATCH', pattern, 'COUNT', String(count)], key)
    const [next, found] = reply as unknown as [Buffer, Buffer[]]
    return { cursor: next.toString('latin1'), keys: found.map((name) => name.toString('latin1')) }
  }

  /** The lowest slot of each master, in order. */
  async #mastersBySlot(): Promise<number[]> {
    const ranges = (await this.#connection.execute(['CLUSTER', 'SLOTS'], undefined)) as unknown as SlotRange[]
    const lowest = new Map<string, number>()
    for (const [start, , [, , id]] of ranges) {
      const master = id.toString('latin1')
      lowest.set(master, Math.min(lowest.get(master) ?? SLOTS, start))
    }
    return [...lowest.values()].toSorted((a, b) => a - b)
  }
}

type SlotRange = readonly [start: number, end: number, master: readonly [ip: Buffer, port: number, id: Buffer]]

/** A key in this slot, by trial: about as many tries as there are slots. */
function keyInSlot(slot: number): string {
  let tries = 0
  while (slotOf(tries.toString(36)) !== slot) tries += 1
  return tries.toString(36)
}

/**
 * One step of a sweep: scans a bounded number of keys and removes the entries that no reader can accept any more. Only
 * entries without expiry need it; the others expire.
 */
export async function sweepStep(
  connection: RedisConnection,
  scan: Scan,
  keys: Keyspace,
  cursor: string,
  count: number,
  now: number,
): Promise<SweepStep> {
  const { cursor: next, keys: found } = await scan.step(cursor, `${escapeGlob(keys.entries)}*`, count)
  const dead = await selectDead(connection, keys, found, now)
  for (const key of dead) await connection.execute(['UNLINK', key], key)
  return { cursor: next, scanned: found.length, removed: dead.length }
}

/** One step over the entries (or the leases) whose keys match. Returns the keys as the cache knows them. */
export async function matchStep(
  scan: Scan,
  keys: Keyspace,
  kind: MatchKind,
  pattern: string,
  cursor: string,
  count: number,
): Promise<MatchStep> {
  const [head, tail] = kind === 'entries' ? [keys.entries, ''] : leaseFrame(keys)
  const step = await scan.step(cursor, `${escapeGlob(head)}${pattern}${tail}`, count)
  const end = tail.length === 0 ? undefined : -tail.length
  return { cursor: step.cursor, keys: step.keys.map((name) => name.slice(head.length, end)) }
}

/** The parts of a lease's name before and after the key of its entry. */
function leaseFrame(keys: Keyspace): [head: string, tail: string] {
  const [head = '', tail = ''] = keys.lease('*').split('*')
  return [head, tail]
}

function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}

async function selectDead(
  connection: RedisConnection,
  keys: Keyspace,
  found: readonly string[],
  now: number,
): Promise<string[]> {
  const entries = await Promise.all(found.map(async (key) => [key, await read(connection, key, decodeEntry)] as const))
  const groupsOf = (key: string, entry: Entry | undefined): string[] =>
    keys.groupsOf(entry?.groups ?? [], key.slice(keys.entries.length))
  const names = new Set(entries.flatMap(([key, entry]) => groupsOf(key, entry)))
  const stamps = new Map<string, GroupStamp | undefined>()
  await Promise.all([...names].map(async (name) => stamps.set(name, await read(connection, name, decodeGroupStamp))))
  const isDead = (key: string, entry: Entry): boolean =>
    !isValid(
      entry,
      entry.groups,
      groupsOf(key, entry).map((name) => stamps.get(name)),
      now,
    )
  return entries.filter(([key, entry]) => entry !== undefined && isDead(key, entry)).map(([key]) => key)
}

async function read<T>(
  connection: RedisConnection,
  key: string,
  decode: (bytes: Buffer) => T | undefined,
): Promise<T | undefined> {
  const reply = await connection.execute(['GET', key], key)
  return Buffer.isBuffer(reply) ? decode(reply) : undefined
}
