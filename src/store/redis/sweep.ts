import { decodeEntry, decodeStamp } from '../codec.js'
import type { Entry, Stamp } from '../entry.js'
import type { Keyspace } from '../keyspace.js'
import type { MatchKind, MatchStep, SweepStep } from '../port.js'
import { isValid } from '../validity.js'
import type { Line } from './reader.js'
import type { Scan } from './scan.js'

/**
 * One step of a sweep: SCAN a bounded number of keys, remove the entries that no reader can accept any more. Only
 * entries without an end of life need it; the others go by their TTL.
 */
export async function sweepStep(
  line: Line,
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

async function selectDead(line: Line, keys: Keyspace, found: readonly string[], now: number): Promise<string[]> {
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

async function fetch<T>(line: Line, key: string, decode: (bytes: Buffer) => T | undefined): Promise<T | undefined> {
  const reply = await line.execute(['GET', key], key)
  return Buffer.isBuffer(reply) ? decode(reply) : undefined
}
