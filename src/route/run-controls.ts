import type { Fill } from '../cache/fill.js'
import type {
  HttpPolicy,
  Outgoing,
  RefusalReason,
  ReplayHow,
  ResponseHead,
  StoredResponse,
  Verdict,
} from '../http/index.js'
import type { Entry } from '../store/entry.js'
import type { MaybePromise } from '../store/port.js'
import type { Stored } from './stored.js'

/** What stood at the key and could not answer. */
export interface Before {
  readonly entry: Entry
  readonly verdict: Verdict
}

/** What a run needs of its route. */
export interface RunControls {
  readonly policy: HttpPolicy
  /** Request fields that select the response. */
  readonly keyedFields: readonly string[]
  /** Credential fields that do not. */
  readonly watched: readonly string[]
  /** Groups of the route, as Cache-Groups tells them. */
  readonly groupNames: readonly string[]
  /** Entries exist for other variants. */
  readonly varyMiss: boolean
  /** Stored for other variants, where the handler is asked about them. */
  readonly others: readonly Entry[]
  /** For Cache-Status: why the store was not asked. */
  readonly detail: string | undefined
  /** Of a request by an unsafe method. */
  readonly conclusion: Conclusion | undefined
  readonly now: () => number
  /** A promise where the answer has to wait: a path whose variants are not known yet. */
  store(fill: Fill, stored: Stored): Promise<void> | undefined
  /** Puts an entry in the place of the one that was read. */
  replace(fill: Fill, entry: Entry): void
  /** The response may not be stored: others need not wait for one another. */
  pass(fill: Fill): void
  refuse(reason: RefusalReason, field: string | undefined): void
  /** Whether an entry of the route may carry these groups beside its own. */
  acceptGroups(names: readonly string[]): boolean
  /** The answer that a stored response gives to this request. */
  replay(stored: StoredResponse, kind: ReplayHow['kind'], isStored: boolean): Outgoing
  /** The handler validated another representation than it was asked about: the entry goes, and this is the answer. */
  mismatch(): MaybePromise<Outgoing>
}

/** How a request by an unsafe method ends. */
export interface Conclusion {
  /** Invalidates what its success changes, and stores what it stands for. Gives whether that was stored. */
  conclude(response: ResponseHead, stored: Stored | undefined): MaybePromise<boolean>
  /** The handler threw, or its client went away. */
  cancel(): void
}
