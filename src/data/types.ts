import type { SchemaIssue } from '../schema-issues.js'
import type { Key } from '../cache/key.js'
import type { WriteStamp } from '../cache/write.js'
import type { Duration } from '../duration.js'
import type { MaybePromise } from '../maybe-promise.js'
import type { Coder } from './coder.js'
import type { CompressionOptions } from './compression.js'

/** How long a value is kept and what invalidates it. */
export interface ValueOptions {
  /** Lifetime: seconds, or `'500ms' | '30s' | '5m' | '2h' | '1d'`. 0 or less keeps it until it is evicted. Default: `REDIS_DEFAULT_TTL`. */
  ttl?: Duration | undefined
  /** Groups of the value: `deleteGroup` with one of them invalidates it. Default: none. */
  group?: string | readonly string[] | undefined
  /** How long after its lifetime the value may be served while it is reloaded in the background. Default 0. */
  staleWhileRevalidate?: Duration | undefined
  /** How long after its lifetime the value may be served when loading fails or takes longer than `softTimeout`. Default 0. */
  staleIfError?: Duration | undefined
  /** Shortens each lifetime by a random part of up to this fraction (0 to 1), so that values do not expire together. Default 0. */
  jitter?: number | undefined
}

/** How a value is loaded. */
export interface LoadOptions extends ValueOptions {
  /** Lifetime of a negative result (`undefined` or `null`). Default: `undefined` is not stored, `null` is a value like any other. */
  negativeTtl?: Duration | undefined
  /** After this long the caller gets the stale value (within `staleIfError`) and the loader continues in the background. Default: never. */
  softTimeout?: Duration | undefined
  /** After this long the loader is aborted and its lease released; the caller gets the stale value, or a TimeoutError. Default: never. */
  timeout?: Duration | undefined
  /** Longest wait for another caller's load before this caller runs its own loader, without storing. 0 does not wait. Default: `timeout`, or 10 s. */
  wait?: Duration | undefined
  /**
   * Maximum number of parallel loads of one key in each process, for callers that cannot share a load: after
   * a failure, for a result that is not stored, while Redis is unavailable. Further callers wait for up to `wait`, and
   * then load as well. Cannot be combined with `wait: 0`. Default: no limit.
   */
  concurrency?: number | undefined
}

/** Options of every read. */
export interface ReadOptions {
  /** Groups of the value. Naming them saves a round trip; a value without them is a miss. Default: none. */
  readonly group?: string | readonly string[] | undefined
  /** Deep-freezes the value and, while it is in this process's memory, returns the same object to all callers. Default false. */
  readonly shared?: boolean | undefined
}

/** Options of `get`. */
export interface GetOptions extends ReadOptions {
  /** An object, such as the request, that memoizes the result: each key is read at most once for it. Default: none. */
  readonly memo?: object | undefined
}

/** Options of `set`. */
export interface SetOptions extends ValueOptions {
  /**
   * The stamp of `beginWrite(key)`, taken before the value was made. The value is stored only if neither the key nor
   * one of its groups was written or invalidated since; otherwise the key is left empty and the next reader loads it.
   */
  readonly ifUnchangedSince?: WriteStamp | undefined
}

/** Options of `getOrSet`. */
export interface GetOrSetOptions extends LoadOptions, GetOptions {
  /** Groups to store the value with and to read it by. Default: none. */
  readonly group?: string | readonly string[] | undefined
  /** Ends the caller's wait, and aborts the loader if this call runs it. Default: none. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `getOrSetMany`. */
export type GetOrSetManyOptions = Omit<GetOrSetOptions, 'memo'>

/** Options of a namespace: defaults for its values. Options of a call override them; groups are added. */
export interface NamespaceOptions<K = Key> extends Omit<LoadOptions, 'group'> {
  /** Groups of all values, or a function of the key that returns them. Default: none. */
  group?: string | readonly string[] | ((key: K) => string | readonly string[]) | undefined
  /** Version of the values, part of every key. Values of other versions are not read, so raise it when their shape changes. `'v2'` is the same as 2. Default: none. */
  version?: number | string | undefined
  /** Converts values to bytes. With any coder a `Uint8Array` is stored unchanged and read as a Buffer. Default: JSON. */
  coder?: Coder | undefined
  /** `true` compresses values of 4 KiB and more with Brotli; an object sets size and algorithm. Default false. */
  compression?: boolean | CompressionOptions | undefined
  /** Validates values when they are stored and read. The schema's output is stored. A stored value that it rejects is a miss. Default: none. */
  schema?: StandardSchema | undefined
  /** Returns the key for the identifier that callers pass. Default: the identifier is the key. */
  key?: ((key: K) => Key) | undefined
  /** Deep-freezes values and, while one is in this process's memory, returns the same object to all callers. Default false. */
  shared?: boolean | undefined
}

/** Options that depend on the loaded value. Groups are added to those of the call. */
export type StoreOptions = ValueOptions & Pick<LoadOptions, 'negativeTtl'>

/** The value that a load replaces. */
export interface Previous<T> {
  /** The stale value. */
  readonly value: T
  /** Milliseconds since it was stored. */
  readonly ageMs: number
}

/** The context of every loader. */
export interface LoadContext {
  /** Aborted with the caller's signal and at `timeout`. */
  readonly signal: AbortSignal
  /** Changes how this value is stored, such as a lifetime or group that comes with the data. */
  readonly store: (options: StoreOptions) => void
  /** Returns the value to its caller without storing it. */
  readonly noStore: () => void
}

/** The context of the loader of one value. `T` is what it returns, `Out` what readers get (they differ with a schema). */
export interface LoaderContext<T = unknown, Out = T> extends LoadContext {
  /** The stale value, if there still is one. */
  readonly previous: Previous<Out> | undefined
  /** `return context.unchanged()` keeps the previous value for another lifetime. Throws UsageError without one. */
  readonly unchanged: () => T
}

/** Loads a value. `undefined` means that there is none; an error goes to the caller and is not stored. */
export type Loader<T, Out = T> = (context: LoaderContext<T, Out>) => T | Promise<T>

/** Any loader; its context has the types of its namespace. */
export type AnyLoader = (context: LoaderContext<never>) => unknown

/** Any loader of many values. */
export type AnyBatchLoader = (keys: readonly never[], context: BatchContext<never>) => unknown

/** The context of the loader of many values. */
export interface BatchContext<T = unknown, Out = T> extends LoadContext {
  /** One context per key, in the same order, for decisions about that value alone. */
  readonly items: readonly LoaderContext<T, Out>[]
}

/**
 * Loads many values at once: returns one per key, in the same order. An Error instead of a value fails that key only;
 * `undefined` is a negative result.
 */
export type BatchLoader<K, T, Out = T> = (
  keys: readonly K[],
  context: BatchContext<T, Out>,
) => readonly (T | Error)[] | Promise<readonly (T | Error)[]>

/** The result of `getEntry`. */
export type ValueEntry<T> =
  | {
      /** `hit`: within its lifetime. `stale`: past it. */
      readonly outcome: 'hit' | 'stale'
      /** The stored value. */
      readonly value: T
      /** Milliseconds since it was stored. */
      readonly ageMs: number
      /** Remaining lifetime in milliseconds, 0 when stale; Infinity: until evicted. */
      readonly ttlMs: number
    }
  | {
      /** Known not to exist (`negativeTtl`). */
      readonly outcome: 'negative'
      /** There is none. */
      readonly value: undefined
      /** Milliseconds since the result was stored. */
      readonly ageMs: number
      /** Remaining lifetime in milliseconds; Infinity: until evicted. */
      readonly ttlMs: number
    }
  | {
      /** There is no usable value. */
      readonly outcome: 'miss'
      /** Why not. */
      readonly reason: ValueMissReason
      /** There is none. */
      readonly value: undefined
    }

/**
 * - `absent`: nothing is stored, or it was invalidated
 * - `undecodable`: stored by another coder or version, or damaged
 * - `invalid`: the schema rejects it
 * - `outage`: the store could not answer in time
 */
export type ValueMissReason = 'absent' | 'undecodable' | 'invalid' | 'outage'

/** Result of `set`. */
export interface SetResult {
  /** Whether the value is in the cache now. */
  readonly stored: boolean
  /** `contested`: `ifUnchangedSince` does not hold. `outage`: the store was unavailable. */
  readonly reason?: 'contested' | 'outage'
}

/** A value for `setMany`, with its own options if it needs any. */
export type SetItem<K = Key, T = unknown> = readonly [key: K, value: T, options?: ValueOptions | undefined]

/** Options of methods that walk all keys. */
export interface ScanOptions {
  /** Keys that the server examines in one step. Default 100, which takes it well under a millisecond. */
  readonly count?: number | undefined
  /** Ends the walk after the current step. Default: none. */
  readonly signal?: AbortSignal | undefined
}

/** Read-only at every depth, as a shared value is. */
export type Frozen<T> = T extends readonly unknown[]
  ? { readonly [Index in keyof T]: Frozen<T[Index]> }
  : T extends Date | Uint8Array | ReadonlyMap<unknown, unknown> | ReadonlySet<unknown> | ((...args: never) => unknown)
    ? T
    : T extends object
      ? { readonly [Name in keyof T]: Frozen<T[Name]> }
      : T

/** The value type of a call: that of the namespace, or of the call itself if the namespace has none. */
export type ValueOf<Out, T> = unknown extends Out ? T : Out

/** The type of a read with a default. */
export type OrDefault<T, D> = unknown extends T ? D : T | D

/** The keys a batch loader gets: those of the call if the namespace takes any key. */
export type KeyOf<K, N> = Key extends K ? N : K

/** Interface of Standard Schema libraries (Zod, Valibot, ArkType and others; standardschema.dev). */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** The interface that the library implements. */
  readonly '~standard': {
    /** Version of the interface. */
    readonly version: 1
    /** Name of the library. */
    readonly vendor: string
    /** Returns the parsed value, or issues. */
    readonly validate: (value: unknown) => MaybePromise<SchemaResult<Output>>
    /** Type information only; absent at run time. */
    readonly types?:
      | {
          /** Type that the schema accepts. */
          readonly input: Input
          /** Type that the schema returns. */
          readonly output: Output
        }
      | undefined
  }
}

/** Result of a schema: the parsed value, or issues. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

/** The type that can be stored under the schema. */
export type SchemaInput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input']

/** The type that is read under the schema. */
export type SchemaOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output']
