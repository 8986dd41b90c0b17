import type { CacheScope } from '../cache/cache-scope.js'

export interface SweepOptions {
  /** Keys the server looks at in one step. Default 100: well under a millisecond of its time. */
  readonly count?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export type MatchOptions = SweepOptions

const STEP_COUNT = 100

/** Removes entries that no reader can accept any more; gives how many went. */
export async function sweep(space: CacheScope, options: SweepOptions = {}): Promise<number> {
  const { count = STEP_COUNT, signal } = options
  let removed = 0
  let cursor = '0'
  do {
    signal?.throwIfAborted()
    const step = await space.sweep(cursor, count)
    removed += step.removed
    cursor = step.cursor
  } while (cursor !== '0')
  return removed
}

/**
 * Evicts the entries whose keys match. First those that are being filled, then those that are there: a fill that is
 * stored in between is met by the second round, so nothing that was loaded before the call survives it.
 */
export async function deleteMatching(space: CacheScope, pattern: string, options: MatchOptions = {}): Promise<number> {
  const { count = STEP_COUNT, signal } = options
  let removed = 0
  for (const kind of ['leases', 'entries'] as const) {
    let cursor = '0'
    do {
      signal?.throwIfAborted()
      const step = await space.match(kind, pattern, cursor, count)
      if (step.keys.length > 0) removed += (await space.evict({ keys: step.keys })).entries
      cursor = step.cursor
    } while (cursor !== '0')
  }
  return removed
}
