import { ValueError } from '../../errors.js'
import { encodeEntry } from '../codec.js'
import type { Entry } from '../entry.js'

/** The reply of a server that has reached its maxmemory and may evict nothing. */
export function isFull(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('OOM')
}

/** Milliseconds as the scripts take them: whole, at least 1, and 0 for no end. */
export function lifeArgument(ttlMs: number): string {
  return ttlMs === Infinity ? '0' : String(Math.max(1, Math.ceil(ttlMs)))
}

/** A point of the clock: text, because a Lua number would lose its last digits. */
export function toNumber(reply: unknown): number {
  return Number(String(reply))
}

export function bytesOf(entry: Entry, key: string): Buffer {
  const bytes = encodeEntry(entry)
  if (bytes === undefined) throw new ValueError(`The entry of ${key} has a header field that HTTP does not allow.`)
  return bytes
}
