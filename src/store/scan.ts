import { slotOf, SLOTS } from '../redis/command.js'
import { decodeEntry, decodeStamp } from './codec.js'
import { type Entry, isValid, type Stamp } from './entry.js'
import type { Keyspace } from './keyspace.js'
import type { RedisConnection } from './redis-store.js'
import type { MatchKind, MatchStep, SweepStep } from './store.js'

export interface ScanStep {
  /** Where the next step begins; `'0'` at the end. */
  readonly cursor: string
  readonly keys: readonly string[]
}

/**
 * SCAN over the keys of all masters, one step of one of them at a time. A cursor is `<master>.<its own cursor>`, where
 * masters are known by a slot that they had at the beginning: after a failover it leads to the successor.
 */
export class Scan {
  readonly #line: RedisConnection
  #slots: readonly number[] = []

  constructor(line: RedisConnection) {
    this.#line = line
  }

  async step(cursor: string, pattern: string, count: number): Promise<ScanStep> {
    if (this.#line.topology !== 'cluster') return this.#scan(cursor, pattern, count, undefined)
    if (cursor === '0') this.#slots = await this.#mastersBySlot()
    const [master = '0', own = '0'] = (cursor === '0' ? `${this.#slots[0]}.0` : cursor).split('.')
    const slot = Number(master)
    const step = await this.#scan(own, pattern, count, keyInSlot(slot))
    if (step.cursor !== '0') return { ...step, cursor: `${slot}.${step.cursor}` }
    const next = this.#slots.find((other) => other > slot)
    return { ...step, cursor: next === undefined ? '0' : `${next}.0` }
  }

  async #scan(cursor: string, pattern: string, count: number, key: string | undefined): Promise<ScanStep> {
    const reply = await this.#line.execute(['SCAN', cursor, 'MATCH', pattern, 'COUNT', String(count)], key)
    const [next, found] = reply as unknown as [Buffer, Buffer[]]
    return { cursor: next.toString('latin1'), keys: found.map((name) => name.toString('latin1')) }
  }

  /** The lowest slot of each master, in order. */
  async #mastersBySlot(): Promise<number[]> {
    const ranges = (await this.#line.execute(['CLUSTER', 'SLOTS'], undefined)) as unknown as SlotRange[]
    const lowest = new Map<string, number>()
    for (const [start, , [, , id]] of ranges) {
      const master = id.toString('latin1')
      lowest.set(master, Math.min(lowest.get(master) ?? SLOTS, start))
    }
    return [...lowest.values()].toSorted((a, b) => a - b)
  }
}

type SlotRange = readonly [start: number, end: number, master: readonly [ip: Buffer, port: number, id: Buffer]]

/** Some key that a cluster keeps in this slot: it takes about as many tries as there are slots. */
function keyInSlot(slot: number): string {
  let tries = 0
  while (slotOf(tries.toString(36)) !== slot) tries += 1
  return tries.toString(36)
}

/**
 * One step of a sweep: SCAN a bounded number of keys, remove the entries that no reader can accept any more. Only
 * entries without an end of life need it; the others go by their TTL.
 */
export async function sweepStep(
  line: RedisConnection,
  scan: Scan,
  keys: Keyspace,
  cursor: string,
  count: number,
  now: number,
): Promise<SweepStep> {
  const { cursor: next, keys: found } = await scan.step(cursor, `${escapeGlob(keys.entries)}*`, count)
  const dead = await selectDead(line, keys, found, now)
  for (const key of dead) await line.execute(['UNLINK', key], key)
  return { cursor: next, scanned: found.length, removed: dead.length }
}

/** One step over the entries (or the leases) whose keys match; gives the keys as the cache knows them. */
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

/** What stands before and after an entry's key in the name of its lease. */
function leaseFrame(keys: Keyspace): [head: string, tail: string] {
  const [head, tail] = keys.lease('*').split('*')
  return [head as string, tail as string]
}

function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}

async function selectDead(
  line: RedisConnection,
  keys: Keyspace,
  found: readonly string[],
  now: number,
): Promise<string[]> {
  const entries = await Promise.all(found.map(async (key) => [key, await fetch(line, key, decodeEntry)] as const))
  const groupsOf = (key: string, entry: Entry | undefined): string[] =>
    (entry?.groups ?? []).map((group) => keys.group(group, key.slice(keys.entries.length)))
  const names = new Set(entries.flatMap(([key, entry]) => groupsOf(key, entry)))
  const stamps = new Map<string, Stamp | undefined>()
  await Promise.all([...names].map(async (name) => stamps.set(name, await fetch(line, name, decodeStamp))))
  const isDead = (key: string, entry: Entry): boolean =>
    !isValid(
      entry,
      groupsOf(key, entry).map((name) => stamps.get(name)),
      now,
    )
  return entries.filter(([key, entry]) => entry !== undefined && isDead(key, entry)).map(([key]) => key)
}

async function fetch<T>(
  line: RedisConnection,
  key: string,
  decode: (bytes: Buffer) => T | undefined,
): Promise<T | undefined> {
  const reply = await line.execute(['GET', key], key)
  return Buffer.isBuffer(reply) ? decode(reply) : undefined
}
