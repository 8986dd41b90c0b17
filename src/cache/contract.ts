import type { Key } from './key.js'
import type { LoadContext, LoaderContext } from './loader.js'
import type { LoadOptions, ValueOptions } from './options.js'
import type { WriteStamp } from './write-stamp.js'

/** Options of every read. */
export interface ReadOptions {
  /** Groups the value was stored with. Naming them here saves a round trip; a value without them is a miss. */
  readonly group?: string | readonly string[] | undefined
  /** True: the value is deep-frozen, and as long as it is in this process' memory everybody is given the same object. */
  readonly shared?: boolean | undefined
}

export interface GetOptions extends ReadOptions {
  /** An object, such as the request, beside which the answer is remembered: for its life the same question is asked once. */
  readonly memo?: object | undefined
}

export interface SetOptions extends ValueOptions {
  /**
   * From `announce(key)`, taken before the value was made. The value is stored only if no other writer of the key was
   * active and nothing of it was invalidated since; otherwise nothing is left at the key and the next reader loads it.
   */
  readonly ifUnchangedSince?: WriteStamp | undefined
}

export interface GetOrSetOptions extends LoadOptions, GetOptions {
  readonly group?: string | readonly string[] | undefined
  /** Ends the caller's wait, and aborts the loader where it is this caller's. */
  readonly signal?: AbortSignal | undefined
}

export type GetOrSetManyOptions = Omit<GetOrSetOptions, 'memo'>

/** What the loader of many values is given. */
export interface BatchContext<T = unknown, Out = T> extends LoadContext {
  /** One for each key, in the same order: what was there before, and decisions about that value alone. */
  readonly items: readonly LoaderContext<T, Out>[]
}

/**
 * Loads many values at once: gives one for each key, in the same order. An Error in the place of a value fails its key
 * and no other; `undefined` is a negative result.
 */
export type BatchLoader<K, T, Out = T> = (
  keys: readonly K[],
  context: BatchContext<T, Out>,
) => readonly (T | Error)[] | Promise<readonly (T | Error)[]>

/** What `getEntry` tells of a key. */
export type ValueEntry<T> =
  | { readonly outcome: 'hit' | 'stale'; readonly value: T; readonly ageMs: number; readonly ttlMs: number }
  /** Known to be nothing (`negativeTtl`). */
  | { readonly outcome: 'negative'; readonly value: undefined; readonly ageMs: number; readonly ttlMs: number }
  | { readonly outcome: 'miss'; readonly reason: ValueMissReason; readonly value: undefined }

/**
 * - `absent`: nothing is stored, or it was invalidated
 * - `undecodable`: stored by another coder or version, or damaged
 * - `invalid`: the schema does not accept it
 * - `outage`: the store could not answer in time, so nobody knows
 */
export type ValueMissReason = 'absent' | 'undecodable' | 'invalid' | 'outage'

export interface SetResult {
  readonly stored: boolean
  /** `contested`: a writer of the key was active, or `ifUnchangedSince` does not hold. `outage`: the store was away. */
  readonly reason?: 'contested' | 'outage'
}

/** A value for `setMany`, with options of its own where it has some. */
export type SetItem<K = Key, T = unknown> = readonly [key: K, value: T, options?: ValueOptions | undefined]
