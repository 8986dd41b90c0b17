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
  /** Public name of the session, from its id; it cannot be used to sign in. */
  readonly handle: string
  /** Names the subject's record; undefined of a session without a subject. */
  readonly tag: string | undefined
  /** SHA-256 of the id, in base64url. */
  readonly digest: string
}

/** A session that is there. Times are microseconds of the store's clock. */
export interface LoadedRecord {
  /** Data as it was stored, property by property. */
  readonly properties: readonly (readonly [name: string, bytes: Buffer])[]
  /** The subject's epoch when the session was bound to it. */
  readonly epoch: string
  /** Changes whenever the session passes to another principal: a write for another one is refused. */
  readonly owner: string
  /** When the visitor was first given a session. */
  readonly createdAt: number
  /** When the id was made. */
  readonly issuedAt: number
  /** When the session ends at the latest. */
  readonly deadlineAt: number
  /** The time of the load. */
  readonly now: number
}

/** `moved`: its id was replaced less than a minute ago. */
export type LoadReply = LoadedRecord | 'absent' | 'moved'

/** What a request changes in the data of a session. */
export interface Change {
  /** Properties to store. */
  readonly set: readonly StoredProperty[]
  /** Names of properties to remove. */
  readonly removed: readonly string[]
  /** Restarts the idle clock where that is due; 0: does not. */
  readonly idleMs: number
}

/** The session that a request has read. */
export interface Owned {
  /** Its owner. */
  readonly owner: string
  /** Names its subject's record; undefined without a subject. */
  readonly tag: string | undefined
}

/** The subject that a session is bound to by its creation or rotation. */
export interface SubjectEpoch {
  /** Names the subject's record; undefined without a subject. */
  readonly tag: string | undefined
  /** The epoch of the subject that the admission has returned; of a session without a subject any text of 22 characters. */
  readonly epoch: string
}

/** A session that is made. */
export interface Creation extends Change, SubjectEpoch {
  /** SHA-256 of the new id, in base64url. */
  readonly digest: string
  /** A text that stands for the principal: it changes when the session passes to another one. */
  readonly owner: string
  /** Milliseconds after which the session ends, used or not. */
  readonly absoluteMs: number
  /** What lists show of the session, as text; empty: nothing. */
  readonly descriptor: string
}

/** A session that gets another id. */
export interface Rotation extends Change, SubjectEpoch {
  /** What was loaded, with the SHA-256 of the id that was sent. */
  readonly from: Owned & {
    /** In base64url. */
    readonly digest: string
  }
  /** SHA-256 of the new id, in base64url. */
  readonly digest: string
  /** A text that stands for the principal: it changes when the session passes to another one. */
  readonly owner: string
  /** What lists show of the session, as text; empty: nothing. */
  readonly descriptor: string
}

/**
 * - `ended`: the session no longer exists, or all sessions of the subject that it had were revoked
 * - `moved`: it belongs to another principal, or has another id
 * - `revoked`: all sessions of the subject that it would get were revoked since the admission
 */
export type Refused = 'ended' | 'moved' | 'revoked'

/** What the index of a subject says when a session is entered. Times are microseconds of the store's clock. */
export interface Admission {
  /** The subject's epoch now: a session of another one has been revoked. */
  readonly epoch: string
  /** Time of the last revocation of everything; 0: none. */
  readonly revokedAt: number
  /** The time of the admission. */
  readonly now: number
  /** Whether the session was not in the index. */
  readonly isNew: boolean
  /** The subject's sessions, the oldest first, where there are more than allowed; the new one among them. */
  readonly members: readonly {
    /** Public name of the session. */
    readonly handle: string
    /** When it ends at the latest. */
    readonly deadlineAt: number
  }[]
}

/** A session as lists of a subject show it. Times are microseconds of the store's clock. */
export interface Described {
  /**
   * Whether it is bound to the subject now. The index also has sessions whose sign-in is under way, or has failed since:
   * they may be somebody else's.
   */
  readonly isBound: boolean
  /** When the visitor was first given a session. */
  readonly createdAt: number
  /** When the id was made. */
  readonly issuedAt: number
  /** When the idle clock was last restarted. */
  readonly seenAt: number
  /** When the session ends unless it is used again. */
  readonly expiresAt: number
  /** What lists show of the session, as text; empty: nothing. */
  readonly descriptor: string
}

/**
 * Where sessions live: a record for each session, a record and an index for each subject. Each verb is atomic. `load`,
 * `create`, `save` and `rotate` read the record of the subject, too: a session whose epoch is not the subject's, and that
 * its last revocation has not spared, is as good as ended. Where sessions and subjects are in different places, the two
 * may be asked side by side. Both implementations pass test/session/store-contract.ts. Rejects with UnavailableError.
 */
export interface SessionStore {
  /** Reads a session, and restarts its idle clock where that is due; 0: does not. */
  load(key: SessionKey, idleMs: number, time?: SessionTime): MaybePromise<LoadReply>
  /** `ended`: its handle was ended before it was there. */
  create(handle: string, creation: Creation, time?: SessionTime): MaybePromise<'created' | Refused>
  /** Writes a change if the session is there, is not revoked, and its owner is this one. */
  save(handle: string, from: Owned, change: Change, time?: SessionTime): MaybePromise<'saved' | Refused>
  /** Microseconds that the session has left, at most. */
  rotate(handle: string, rotation: Rotation, time?: SessionTime): MaybePromise<number | Refused>
  /**
   * Ends a session; where none is there yet, its creation fails for a minute. With a digest: only the session of that
   * id. Whether there was one.
   */
  end(handle: string, digest: string | undefined, time?: SessionTime): MaybePromise<boolean>
  /** What lists of a subject show of these sessions; undefined for one that has ended. */
  describe(tag: string, handles: readonly string[]): MaybePromise<readonly (Described | undefined)[]>

  /** Enters a session into its subject's index for `lifeMs`, and makes the subject's record where there is none. */
  admit(tag: string, entry: SubjectEntry, time?: SessionTime): MaybePromise<Admission>
  /** Takes sessions out of the index of their subject. */
  withdraw(tag: string, handles: readonly string[], time?: SessionTime): MaybePromise<void>
  /** Whether the index of the subject has the session, and it is not there bound to another subject or to none. */
  has(tag: string, handle: string): MaybePromise<boolean>
  /** Handles of the subject's sessions, the oldest first; some may have ended. */
  handles(tag: string): MaybePromise<readonly string[]>
  /** Ends all sessions of a subject but one at most. Returns how many were in the index. */
  revokeAll(tag: string, revocation: Revocation): MaybePromise<number>
}

/** A session that is entered into the index of its subject. */
export interface SubjectEntry {
  /** Public name of the session, from its id; it cannot be used to sign in. */
  readonly handle: string
  /** Milliseconds for which the session stays in the index. */
  readonly lifeMs: number
  /** How long the subject's record is kept. */
  readonly keepMs: number
  /** The epoch of a new record. */
  readonly epoch: string
  /** Most sessions; Infinity: no limit. */
  readonly max: number
}

/** How all sessions of a subject end. */
export interface Revocation {
  /** The new epoch of the subject: sessions of older ones are over. */
  readonly epoch: string
  /** Milliseconds for which the subject's record is kept. */
  readonly keepMs: number
  /** Kept if it is valid now. */
  readonly except:
    | {
        /** Public name of the session. */
        readonly handle: string
        /** The epoch that it is bound to. */
        readonly epoch: string
      }
    | undefined
}

/** An id that was replaced less than this long ago does not count as unknown. */
export const MOVED_US = 60_000_000

/**
 * How much of the idle time may pass before a visit restarts the clock, in parts of it: until then a load writes
 * nothing. A session lives that much longer, and never beyond its absolute deadline.
 */
export const IDLE_PARTS = 60

/** How long the mark of an ended session lasts. */
export const MARK_MS = 60_000
