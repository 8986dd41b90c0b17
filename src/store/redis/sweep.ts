import { decodeEntry, decodeStamp } from '../codec.js'
import type { Entry, Stamp } from '../entry.js'
import type { Keyspace } from '../keyspace.js'
import type { SweepStep } from '../port.js'
import { isValid } from '../validity.js'
import type { Line } from './reader.js'

/**
 * One step of a sweep: SCAN a bounded number of keys, remove the entries that no reader can accept any more. Only
 * entries without an end of life need it; the others go by their TTL. On a cluster each step covers one node's keys.
 */
export async function sweepStep(
  line: Line,
  keys: Keyspace,
  cursor: string,
  count: number,
  now: number,
): Promise<SweepStep> {
  const pattern = `${keys.entries.replace(/[\\*?[\]]/g, '\\$&')}*`
  const reply = await line.execute(['SCAN', cursor, 'MATCH', pattern, 'COUNT', String(count)], undefined)
  const [next, found] = reply as unknown as [Buffer, Buffer[]]
  const dead = await selectDead(
    line,
    keys,
    found.map((key) => key.toString('latin1')),
    now,
  )
  for (const key of dead) await line.execute(['UNLINK', key], key)
  return { cursor: next.toString('latin1'), scanned: found.length, removed: dead.length }
}

async function selectDead(line: Line, keys: Keyspace, found: string[], now: number): Promise<string[]> {
  const entries = await Promise.all(found.map(async (key) => [key, await fetch(line, key, decodeEntry)] as const))
  const names = [...new Set(entries.flatMap(([, entry]) => entry?.groups ?? []))]
  const stamps = new Map<string, Stamp | undefined>()
  await Promise.all(names.map(async (name) => stamps.set(name, await fetch(line, keys.group(name), decodeStamp))))
  return entries.filter(([, entry]) => entry !== undefined && isDead(entry, stamps, now)).map(([key]) => key)
}

function isDead(entry: Entry, stamps: ReadonlyMap<string, Stamp | undefined>, now: number): boolean {
  return !isValid(
    entry,
    entry.groups.map((group) => stamps.get(group)),
    now,
  )
}

async function fetch<T>(line: Line, key: string, decode: (bytes: Buffer) => T | undefined): Promise<T | undefined> {
  const reply = await line.execute(['GET', key], key)
  return Buffer.isBuffer(reply) ? decode(reply) : undefined
}
