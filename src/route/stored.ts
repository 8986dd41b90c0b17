import { encodeGroup, originGroup } from '../cache/group.js'
import { type Storable, toStored } from '../http/index.js'
import type { Entry } from '../store/entry.js'

/** A decided store: what is kept, under which right to store. */
export interface Stored {
  readonly decision: Storable
  readonly body: Buffer
  /** Groups that the handler added. */
  readonly groups: readonly string[]
  /** Encoded groups of the entry that this one is the validated form of: it stays in all of them. */
  readonly kept: readonly string[] | undefined
}

/**
 * The entry of a response, under the stamp of its fill. `groups` are those of the place, encoded; `host` keeps the
 * groups that responses name apart where several origins share the cache.
 */
export function makeEntry(
  { decision, body, groups: added, kept = NONE }: Stored,
  groups: readonly string[],
  host: string | undefined,
  stamp: number,
): Entry {
  const more = [...kept, ...added.map(encodeGroup), ...responseGroups(decision.groups, host)]
  return {
    kind: 'response',
    ...toStored(decision, body),
    stamp,
    family: '',
    groups: more.length === 0 ? groups : [...new Set([...groups, ...more])],
  }
}

/** Groups that a response names, encoded. */
export function responseGroups(names: readonly string[], host: string | undefined): readonly string[] {
  return host === undefined ? names.map(encodeGroup) : names.map((name) => originGroup(host, name))
}

const NONE: readonly string[] = []

/** A decision to store all but these fields (lower case). */
export function withoutFields(decision: Storable, names: ReadonlySet<string>): Storable {
  if (names.size === 0) return decision
  const kept: string[] = []
  for (let index = 0; index < decision.storedHeaders.length; index += 2) {
    const name = decision.storedHeaders[index] as string
    if (!names.has(name.toLowerCase())) kept.push(name, decision.storedHeaders[index + 1] as string)
  }
  return { ...decision, storedHeaders: kept }
}
