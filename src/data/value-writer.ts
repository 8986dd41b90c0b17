import type { CacheScope, Evicted } from '../cache/cache-scope.js'
import type { EntryRef } from '../cache/lookup.js'
import type { Key } from '../cache/key.js'
import type { InvalidationTarget } from '../cache/pending-invalidations.js'
import type { WriteStamp } from '../cache/write.js'
import { UsageError } from '../errors.js'
import { usefulUntil } from '../store/entry.js'
import type { Recorder } from '../telemetry/recorder.js'
import type { ResolvedValueOptions } from './options.js'
import type { ScanOptions, SetResult } from './types.js'
import { draftEntry, type EncodedValue, type ValueCodec } from './value-codec.js'
import { chunksOf } from './value-reader.js'

const STORED: SetResult = { stored: true }

const CONTESTED: SetResult = { stored: false, reason: 'contested' }

const OUTAGE: SetResult = { stored: false, reason: 'outage' }

/** Stores and removes the values of one namespace. */
export class ValueWriter {
  readonly #scope: CacheScope
  readonly #codec: ValueCodec
  readonly #recorder: Recorder

  constructor(scope: CacheScope, codec: ValueCodec, recorder: Recorder) {
    this.#scope = scope
    this.#codec = codec
    this.#recorder = recorder
  }

  /** The stored form of a value. Throws ValueError if the schema or the coder rejects it. */
  async encode(key: Key, value: unknown): Promise<EncodedValue> {
    return this.#codec.encode(key, await this.#codec.check(key, value))
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
      throw new UsageError('`ifUnchangedSince` is the stamp of another key: take one with beginWrite(key).')
    const now = this.#scope.now()
    const entry = draftEntry(encoded, ref.groups, options, now)
    const stored = { entry, ttlMs: usefulUntil(entry) - now }
    if (since === undefined) {
      const set = async (): Promise<'stored'> => {
        await this.#scope.set(key, stored.entry, stored.ttlMs)
        return 'stored'
      }
      return this.#recorder.store('set', { key, ...stored }, set).then(
        () => STORED,
        () => OUTAGE,
      )
    }
    const { write } = since
    if (write === undefined) {
      await this.evict('set', { paths: [key] })
      return OUTAGE
    }
    const commit = (): ReturnType<CacheScope['commit']> => this.#scope.commit(write, stored, {})
    const { published, confirmed } = await this.#recorder.put({}, { key, ...stored }, commit)
    if (!confirmed) return OUTAGE
    return published === 'stored' ? STORED : CONTESTED
  }

  /** Invalidates, and counts it as an operation of the namespace. */
  evict(operation: string, target: InvalidationTarget): Promise<Evicted> {
    return this.#recorder.evict(operation, { ...target, keys: target.paths }, () => this.#scope.evict(target))
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
        const { keys, cursor } = await this.#scope.match(kind, pattern, from, count)
        const { entries } = await this.#scope.evict({ paths: keys })
        return { removed: entries, cursor }
      })
    }
    return removed
  }
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
