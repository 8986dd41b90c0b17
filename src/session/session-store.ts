import type { MaybePromise } from '../maybe-promise.js'

/** Time that the commands of a request may take together. */
export interface SessionTime {
  /** Milliseconds that are left. */
  readonly remainingMs: number
}

/** A property as it is stored; a text is its UTF-8. */
export type StoredProperty = readonly [name: string, value: string | Uint8Array]

/** What a request says about the session that it wants. */
export interface SessionKey {
  readonly handle: string
  /** Names the subject's record; undefined of a session without a subject. */
  readonly tag: string | undefined
  /** SHA-256 of the id, in base64url. */
  readonly digest: string
}

/** A session that is there. Times are microseconds of the store's clock. */
export interface LoadedRecord {
  readonly properties: readonly (readonly [name: string, bytes: Buffer])[]
  /** The subject's epoch when the session was bound to it. */
  readonly epoch: string
  /** Changes whenever the session passes to another principal: a write for another one is refused. */
  readonly owner: string
  readonly createdAt: number
  readonly issuedAt: number
  readonly deadlineAt: number
  readonly now: number
}

/** `moved`: its id was replaced less than a minute ago. */
export type LoadReply = LoadedRecord | 'absent' | 'moved'

export interface Change {
  readonly set: readonly StoredProperty[]
  readonly removed: readonly string[]
  /** Restarts the idle clock where that is due; 0: does not. */
  readonly idleMs: number
}

/** A session that is made. */
export interface Creation extends Change {
  readonly digest: string
  readonly epoch: string
  readonly owner: string
  readonly absoluteMs: number
  readonly descriptor: string
}

/** A session that gets another id. */
export interface Rotation extends Change {
  /** What was loaded. */
  readonly from: { readonly digest: string; readonly owner: string }
  readonly digest: string
  readonly epoch: string
  readonly owner: string
  readonly descriptor: string
  /** Another request has rotated it for the same owner: only the change is written. */
  readonly orSave: boolean
}

/** `ended`: the session is not there any more; `moved`: it belongs to another principal, or has another id. */
export type Refused = 'ended' | 'moved'

export interface Admission {
  readonly epoch: string
  /** Time of the last revocation of everything; 0: none. */
  readonly revokedAt: number
  readonly now: number
  /** Whether the session was not in the index. */
  readonly isNew: boolean
  /** The subject's sessions, the oldest first, where there are more than allowed; the new one among them. */
  readonly members: readonly { readonly handle: string; readonly deadlineAt: number }[]
}

/** A session as lists show it. Times are microseconds of the store's clock. */
export interface Described {
  readonly createdAt: number
  readonly issuedAt: number
  readonly seenAt: number
  readonly expiresAt: number
  readonly descriptor: string
}

/**
 * Where sessions live: a record for each session, a record and an index for each subject. Each verb is atomic; no verb
 * needs a session and a subject in one place, except `load`, which only reads the subject. Both implementations pass
 * test/session/store-contract.ts. Rejects with UnavailableError.
 */
export interface SessionStore {
  load(key: SessionKey, idleMs: number, time?: SessionTime): MaybePromise<LoadReply>
  /** False: its handle was ended before it was there. */
  create(handle: string, creation: Creation, time?: SessionTime): MaybePromise<boolean>
  save(handle: string, owner: string, change: Change, time?: SessionTime): MaybePromise<'saved' | Refused>
  /** Microseconds that the session has left, at most. */
  rotate(handle: string, rotation: Rotation, time?: SessionTime): MaybePromise<number | 'saved' | Refused>
  /**
   * Ends a session; where none is there yet, its creation fails for a minute. With a digest: only the session of that
   * id. Whether there was one.
   */
  end(handle: string, digest: string | undefined, time?: SessionTime): MaybePromise<boolean>
  describe(handles: readonly string[]): MaybePromise<readonly (Described | undefined)[]>

  /** Enters a session into its subject's index for `lifeMs`, and makes the subject's record where there is none. */
  admit(tag: string, entry: SubjectEntry, time?: SessionTime): MaybePromise<Admission>
  withdraw(tag: string, handles: readonly string[], time?: SessionTime): MaybePromise<void>
  has(tag: string, handle: string): MaybePromise<boolean>
  /** Handles of the subject's sessions, the oldest first; some may have ended. */
  handles(tag: string): MaybePromise<readonly string[]>
  /** Ends all sessions of a subject but one at most. Returns how many were in the index. */
  revokeAll(tag: string, revocation: Revocation): MaybePromise<number>
}

export interface SubjectEntry {
  readonly handle: string
  readonly lifeMs: number
  /** How long the subject's record is kept. */
  readonly keepMs: number
  /** The epoch of a new record. */
  readonly epoch: string
  /** Most sessions; Infinity: no limit. */
  readonly max: number
}

export interface Revocation {
  readonly epoch: string
  readonly keepMs: number
  /** Kept if it is valid now. */
  readonly except: { readonly handle: string; readonly epoch: string } | undefined
}

/** An id that was replaced less than this long ago does not count as unknown. */
export const MOVED_US = 60_000_000

/**
 * How much of the idle time may pass before a visit restarts the clock, in parts of it: until then a load writes nothing.
 * A session lives that much longer, and never beyond its absolute deadline.
 */
export const IDLE_PARTS = 60

/** How long the mark of an ended session lasts. */
export const MARK_MS = 60_000
