import type { CacheScope } from '../cache/cache-scope.js'
import type { EntryLookup, EntryRef } from '../cache/lookup.js'
import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import type { CommandBudget } from '../redis/deadline.js'
import type { LookupResult, LookupTimer, Recorder } from '../telemetry/recorder.js'
import type { ValueEntry } from './types.js'
import type { Decoded, ValueCodec } from './value-codec.js'

/** Keys that are read, leased or stored at a time, so that a call for thousands never takes a command past its deadline. */
export const BULK_CHUNK = 100

/** Parts of a list that are sent together. */
export function chunksOf<T>(items: readonly T[]): readonly (readonly T[])[] {
  const starts = Array.from({ length: Math.ceil(items.length / BULK_CHUNK) }, (_, index) => index * BULK_CHUNK)
  return starts.map((start) => items.slice(start, start + BULK_CHUNK))
}

/** New time budgets: for the commands of one call, or of one part of a call for many keys. Undefined without Redis. */
export interface Budgets {
  readonly budget: (() => CommandBudget) | undefined
  readonly bulkBudget: (() => CommandBudget) | undefined
}

/** One of the different keys of a call, and what the store has for it. */
export type Read<T> = T & {
  readonly lookup: EntryLookup
  /** Ends when it is decided what the caller gets. */
  readonly timer: LookupTimer
}

/** Reads the values of one namespace. */
export class ValueReader {
  readonly #scope: CacheScope
  readonly #codec: ValueCodec
  readonly #recorder: Recorder
  readonly #budgets: Budgets

  constructor(scope: CacheScope, codec: ValueCodec, recorder: Recorder, budgets: Budgets) {
    this.#scope = scope
    this.#codec = codec
    this.#recorder = recorder
    this.#budgets = budgets
  }

  /** Looks many values up, with one round trip per 100. */
  async lookup<T extends { readonly ref: EntryRef }>(operation: string, items: readonly T[]): Promise<Read<T>[]> {
    const timer = this.#recorder.start(operation)
    const lookups: EntryLookup[] = []
    for (const chunk of chunksOf(items)) {
      const refs = chunk.map(({ ref }) => ref)
      lookups.push(...(await timer.run(() => this.#scope.lookupMany(refs, this.#budgets.bulkBudget?.()))))
    }
    const single = items.length === 1
    if (!single) timer.end()
    return items.map((item, index) => ({
      ...item,
      lookup: lookups[index] ?? UNKNOWN,
      timer: single ? timer : timer.part(),
    }))
  }

  async entries(operation: string, refs: readonly EntryRef[], shared: boolean): Promise<ValueEntry<unknown>[]> {
    const items = refs.map((ref) => ({ ref }))
    const read = await this.lookup(operation, items)
    return Promise.all(read.map(async (item) => this.#describe(item, shared)))
  }

  async entry(operation: string, ref: EntryRef, shared: boolean): Promise<ValueEntry<unknown>> {
    const timer = this.#recorder.start(operation)
    const looking = timer.run(() => this.#scope.lookup(ref, this.#scope.now(), this.#budgets.budget?.()))
    const lookup = isPromise(looking) ? await looking : looking
    return this.#describe({ ref, lookup, timer }, shared)
  }

  #describe({ ref, lookup, timer }: Read<{ ref: EntryRef }>, shared: boolean): MaybePromise<ValueEntry<unknown>> {
    const decoding = lookup.state === 'valid' ? this.#codec.decode(lookup.entry, shared) : undefined
    return chain(decoding, (decoded: Decoded | undefined) => {
      const entry = this.#entryOf(lookup, decoded)
      timer.found(lookupResult(entry, lookup, ref, timer.operation === 'get'))
      return entry
    })
  }

  #entryOf(lookup: EntryLookup, decoded: Decoded | undefined): ValueEntry<unknown> {
    if (lookup.state !== 'valid') return { outcome: 'miss', reason: lookup.state, value: undefined }
    const { state = 'undecodable', value } = decoded ?? {}
    if (state === 'undecodable' || state === 'invalid') return { outcome: 'miss', reason: state, value: undefined }
    const { entry, softened } = lookup
    const now = this.#scope.now()
    const ageMs = now - entry.storedAt
    const ttlMs = softened ? 0 : Math.max(entry.freshUntil - now, 0)
    if (state === 'negative') return { outcome: 'negative', value: undefined, ageMs, ttlMs }
    return { outcome: ttlMs > 0 ? 'hit' : 'stale', value, ageMs, ttlMs }
  }
}

/** For a lookup that cannot be missing: an outage is never wrong. */
const UNKNOWN: EntryLookup = { state: 'outage', error: undefined }

/** What telemetry gets. `freshOnly`: a stale value is not returned. */
function lookupResult(
  entry: ValueEntry<unknown>,
  lookup: EntryLookup,
  place: EntryRef,
  freshOnly: boolean,
): LookupResult {
  if (entry.outcome === 'miss' || lookup.state !== 'valid')
    return { outcome: 'miss', reason: entry.outcome === 'miss' ? entry.reason : 'absent', place }
  const kept = lookup.entry
  if (entry.outcome === 'hit') return { outcome: 'hit', reason: 'fresh', entry: kept, place }
  // Known not to exist, which saves a loader as well.
  if (entry.outcome === 'negative') return { outcome: 'hit', reason: 'negative', entry: kept, place }
  if (freshOnly) return { outcome: 'miss', reason: lookup.softened ? 'softened' : 'stale', place }
  return { outcome: 'stale', reason: 'stale', entry: kept, place }
}
