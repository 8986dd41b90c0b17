import type { CacheScope, Changes, Evicted } from '../cache/cache-scope.js'
import type { EntryLookup, EntryRef } from '../cache/lookup.js'
import type { InvalidationTarget } from '../cache/pending-invalidations.js'
import type { StoredEntry, WriteStamp } from '../cache/write.js'
import { UsageError } from '../errors.js'
import { chain, type MaybePromise } from '../maybe-promise.js'
import type { CommandBudget } from '../redis/deadline.js'
import { usefulUntil } from '../store/entry.js'
import type { LookupTimer, Recorder } from '../telemetry/recorder.js'
import { valueAt } from '../value-at.js'
import type { ResolvedValueOptions } from './options.js'
import type { ScanOptions, SetResult, ValueEntry, ValueMissReason } from './types.js'
import {
  type Decoded,
  draftEntry,
  type EncodedValue,
  isKnown,
  type ValueCodec,
  type ValueRefs,
} from './stored-value.js'

/** Keys that are read, leased or stored at a time, so that a call for thousands never takes a command past its deadline. */
const BULK_CHUNK = 100

/** Runs at most `BULK_CHUNK` commands at a time. */
export class Throttle {
  #running = 0
  readonly #waiting: (() => void)[] = []

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < BULK_CHUNK) this.#running += 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}

/** New time budgets: for the commands of one call, or of one part of a call for many keys. Undefined without Redis. */
export interface Budgets {
  readonly budget: (() => CommandBudget) | undefined
  readonly bulkBudget: (() => CommandBudget) | undefined
}

/** One of the keys of a call, and what the store has for it. */
type Read<T> = T & {
  readonly lookup: EntryLookup
  /** Ends when it is decided what the caller gets. */
  readonly timer: LookupTimer
}

const OUTAGE: SetResult = { stored: false, reason: 'outage' }

/** Reads, loads, stores and removes the values of one namespace. */
export class ValueEngine {
  constructor(
    readonly scope: CacheScope,
    readonly refs: ValueRefs,
    readonly codec: ValueCodec,
    readonly recorder: Recorder,
    readonly budgets: Budgets,
  ) {}

  /** Looks many values up, with one round trip per 100. */
  async lookup<T extends { readonly ref: EntryRef }>(operation: string, items: readonly T[]): Promise<Read<T>[]> {
    const timer = this.recorder.start(operation)
    const lookups: EntryLookup[] = []
    for (const chunk of chunksOf(items)) {
      const refs = chunk.map(({ ref }) => ref)
      lookups.push(...(await timer.run(() => this.scope.lookupMany(refs, this.budgets.bulkBudget?.()))))
    }
    const single = items.length === 1
    if (!single) timer.end()
    return items.map((item, index) => ({
      ...item,
      lookup: lookups[index] ?? { state: 'outage', error: undefined },
      timer: single ? timer : timer.part(),
    }))
  }

  async entries(operation: string, refs: readonly EntryRef[], shared: boolean): Promise<ValueEntry<unknown>[]> {
    const items = refs.map((ref) => ({ ref }))
    const read = await this.lookup(operation, items)
    return Promise.all(read.map(async (item) => this.#entry(item, shared)))
  }

  entry(operation: string, ref: EntryRef, shared: boolean): MaybePromise<ValueEntry<unknown>> {
    const timer = this.recorder.start(operation)
    const looking = timer.run(() => this.scope.lookup(ref, undefined, this.budgets.budget?.()))
    return chain(looking, (lookup) => this.#entry({ ref, lookup, timer }, shared))
  }

  #entry({ ref, lookup, timer }: Read<{ ref: EntryRef }>, shared: boolean): MaybePromise<ValueEntry<unknown>> {
    if (lookup.state !== 'valid') return missOf(lookup.state, timer, ref)
    return chain(this.codec.decode(lookup.entry, shared), (decoded: Decoded) => {
      if (!isKnown(decoded)) return missOf(decoded.state, timer, ref)
      const { entry, softened } = lookup
      const now = this.scope.now()
      const ageMs = now - entry.storedAt
      const ttlMs = softened ? 0 : Math.max(entry.freshUntil - now, 0)
      if (decoded.state === 'negative') {
        // Known not to exist, which saves a loader as well.
        timer.found({ outcome: 'hit', reason: 'negative', entry, ref })
        return { outcome: 'negative', value: undefined, ageMs, ttlMs }
      }
      const outcome = ttlMs > 0 ? 'hit' : 'stale'
      if (outcome === 'hit') timer.found({ outcome, reason: 'fresh', entry, ref })
      // `get` does not return a stale value.
      else if (timer.operation === 'get') timer.found({ outcome: 'miss', reason: softened ? 'softened' : outcome, ref })
      else timer.found({ outcome, reason: outcome, entry, ref })
      return { outcome, value: decoded.value, ageMs, ttlMs }
    })
  }

  /** With a stamp the value is stored only if nothing of it has changed since. */
  async set(
    ref: EntryRef,
    encoded: EncodedValue,
    options: ResolvedValueOptions,
    since?: WriteStamp,
  ): Promise<SetResult> {
    const { key } = ref
    if (since !== undefined && since.key !== key)
      throw new UsageError('`ifUnchangedSince` is the stamp of another key: call beginWrite(key) for this key.')
    const stored = this.draft(encoded, ref.groups, options)
    if (since === undefined) {
      const set = (): Promise<'stored'> => this.scope.set(key, stored.entry, stored.ttlMs).then(() => 'stored')
      return this.recorder.store('set', { key, ...stored }, set).then(
        () => ({ stored: true }),
        () => OUTAGE,
      )
    }
    const { write } = since
    if (write === undefined) {
      await this.evict('set', { paths: [key] })
      return OUTAGE
    }
    const commit = () => this.scope.commit(write, stored, {})
    const { published, confirmed } = await this.recorder.put({}, { key, ...stored }, commit)
    if (!confirmed) return OUTAGE
    return published === 'stored' ? { stored: true } : { stored: false, reason: 'contested' }
  }

  /** An entry stored now, and how long the store keeps it. */
  draft(encoded: EncodedValue, groups: readonly string[], options: ResolvedValueOptions): StoredEntry {
    const now = this.scope.now()
    const entry = draftEntry(encoded, groups, options, now)
    this.scope.groupNames.stored(groups)
    return { entry, ttlMs: usefulUntil(entry) - now }
  }

  /** Invalidates, and counts it as an operation of the namespace. */
  evict(operation: string, target: InvalidationTarget): Promise<Evicted> {
    return this.recorder.evict(operation, target, (named) => this.scope.evict(named))
  }

  async evictPaths(operation: string, paths: readonly string[], mode: 'hard' | 'soft'): Promise<Evicted> {
    const sum = { entries: 0, groups: 0, confirmed: true }
    for (const chunk of chunksOf(paths)) {
      const { entries, confirmed } = await this.evict(operation, { paths: chunk, mode })
      sum.entries += entries
      sum.confirmed &&= confirmed
    }
    return sum
  }

  /** Removes the entries whose keys match a glob pattern of Redis. */
  async deleteMatching(pattern: string, options?: ScanOptions): Promise<number> {
    let removed = 0
    // Keys that are being loaded first: what is stored between the two scans is found by the second.
    for (const kind of ['leases', 'entries'] as const) {
      removed += await scan(options, async (from, count) => {
        const { keys, cursor } = await this.scope.inspect.match(kind, pattern, from, count)
        const { entries } = await this.scope.evict({ paths: keys })
        return { removed: entries, cursor }
      })
    }
    return removed
  }
}

function missOf(reason: ValueMissReason, timer: LookupTimer, ref: EntryRef): ValueEntry<unknown> {
  timer.found({ outcome: 'miss', reason, ref })
  return { outcome: 'miss', reason, value: undefined }
}

/** How long the groups of a value must live: as long as any form of it. */
export function lifetimeOf(options: ResolvedValueOptions): number {
  const { ttlMs, negativeTtlMs = 0, staleIfErrorMs, staleWhileRevalidateMs } = options
  return Math.max(ttlMs, negativeTtlMs) + Math.max(staleIfErrorMs, staleWhileRevalidateMs)
}

/** Parts of a list that are sent together. */
function chunksOf<T>(items: readonly T[]): readonly (readonly T[])[] {
  const starts = Array.from({ length: Math.ceil(items.length / BULK_CHUNK) }, (_, index) => index * BULK_CHUNK)
  return starts.map((start) => items.slice(start, start + BULK_CHUNK))
}

/** Steps of a scan look at this many keys: well under a millisecond of the server's time. */
const SCAN_COUNT = 100

/** Repeats a step until its cursor is back at the start; resolves with how many entries the steps removed. */
export async function scan(
  { count = SCAN_COUNT, signal }: ScanOptions = {},
  step: (cursor: string, count: number) => Promise<{ readonly cursor: string; readonly removed: number }>,
): Promise<number> {
  let removed = 0
  let cursor = '0'
  do {
    signal?.throwIfAborted()
    const end = await step(cursor, count)
    removed += end.removed
    cursor = end.cursor
  } while (cursor !== '0')
  return removed
}

interface Remembered {
  readonly at: number
  readonly answer: Promise<unknown>
}

/**
 * Answers remembered for the lifetime of an object, such as a request. Answers that this process has changed or
 * invalidated since are asked for again; changes by other processes show with the next object.
 */
export class RequestMemo {
  readonly #changes: Changes
  readonly #answers = new WeakMap<object, Map<string, Remembered>>()

  constructor(changes: Changes) {
    this.#changes = changes
  }

  /** `question` distinguishes what is asked about one key. */
  answer<T>(owner: object, question: string, key: string, ask: () => Promise<T>): Promise<unknown> {
    const answers = valueAt(this.#answers, owner, () => new Map<string, Remembered>())
    const id = `${question} ${key}`
    const known = answers.get(id)
    if (known !== undefined && !this.#changes.since(known.at, key)) return known.answer
    const remembered: Remembered = { at: this.#changes.now, answer: ask() }
    answers.set(id, remembered)
    remembered.answer.catch(() => {
      if (answers.get(id) === remembered) answers.delete(id)
    })
    return remembered.answer
  }
}
