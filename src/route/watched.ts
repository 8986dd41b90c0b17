import type { Found } from '../diagnostics/facts.js'
import type { Recorder } from '../diagnostics/recorder.js'
import type { MaybePromise } from '../store/port.js'
import type { HitReason, Lookup } from './lookup.js'

/** Served past the lifetime. */
const STALE: ReadonlySet<HitReason> = new Set<HitReason>(['max-stale', 'stale-while-revalidate', 'stale', 'softened'])

/** Decides about a request under the eyes of telemetry. */
export function watched(recorder: Recorder, decide: () => MaybePromise<Lookup>): MaybePromise<Lookup> {
  return recorder.lookup('get', decide, foundBy)
}

function foundBy(lookup: Lookup): Found {
  if (lookup.outcome === 'bypass') return { outcome: 'bypass', reason: lookup.reason }
  const { reason, entry, place } = lookup
  if (lookup.outcome === 'miss' || reason === 'only-if-cached') return { outcome: 'miss', reason, place }
  const bytes = lookup.response.body?.length ?? 0
  return { outcome: STALE.has(lookup.reason) ? 'stale' : 'hit', reason, entry, place, bytes }
}
