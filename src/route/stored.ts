import { encodeGroup, originGroup } from '../cache/key.js'
import type { EntryDraft, StoredEntry } from '../cache/write.js'
import type { Storable } from '../http/index.js'
import { usefulUntil } from '../store/entry.js'

/** A response to be stored. */
export interface Stored {
  readonly decision: Storable
  readonly body: Buffer
  /** Groups that the handler added. */
  readonly groups: readonly string[]
  /** Encoded groups of the entry that this one is the validated form of: it stays in all of them. */
  readonly kept?: readonly string[] | undefined
}

/**
 * The entry of a response. `groups` are those of its place; `host` keeps the groups that responses name apart where
 * several origins share the cache.
 */
export function toDraft(stored: Stored, groups: readonly string[], host: string | undefined): StoredEntry {
  const { decision, body, groups: added, kept = NONE } = stored
  const more = [...kept, ...added.map(encodeGroup), ...responseGroups(decision.groups, host)]
  const all = more.length === 0 ? groups : [...new Set([...groups, ...more])]
  const { entry: head } = decision
  const entry: EntryDraft = {
    kind: 'response',
    flags: head.flags,
    status: head.status,
    storedAt: head.storedAt,
    freshUntil: head.freshUntil,
    staleUntil: head.staleUntil,
    errorUntil: head.errorUntil,
    initialAgeMs: head.initialAgeMs,
    groups: all,
    headers: head.headers,
    body,
    memo: undefined,
  }
  return { entry, ttlMs: usefulUntil(entry) - entry.storedAt }
}

/** Groups that a response names, encoded. */
export function responseGroups(names: readonly string[], host: string | undefined): readonly string[] {
  return host === undefined ? names.map(encodeGroup) : names.map((name) => originGroup(host, name))
}

const NONE: readonly string[] = []
