import { encodeGroup } from '../cache/group.js'
import { type Storable, toStored } from '../http/index.js'
import type { Entry } from '../store/entry.js'

/** A decided store: what is kept, under which right to store. */
export interface Stored {
  readonly decision: Storable
  readonly body: Buffer
  /** Groups that the handler added. */
  readonly groups: readonly string[]
}

/** The entry of a response, under the stamp of its fill. */
export function makeEntry({ decision, body, groups: added }: Stored, groups: readonly string[], stamp: number): Entry {
  return {
    kind: 'response',
    ...toStored(decision, body),
    stamp,
    family: '',
    groups: added.length === 0 ? groups : [...new Set([...groups, ...added.map(encodeGroup)])],
  }
}
