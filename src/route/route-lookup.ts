import type { EntryRef } from '../cache/lookup.js'
import type { OutgoingResponse } from '../http/index.js'
import type { Entry } from '../store/entry.js'
import type { LookupResult } from '../telemetry/recorder.js'
import type { HandlerRun } from './handler-run.js'
import type { BypassReason, HitReason, MissReason } from './request.js'

/** What becomes of a request. */
export type RouteLookup = Hit | Miss | Bypass

/** Send this; the handler does not run. Also what telemetry records of a fresh one. */
export class Hit implements LookupResult {
  readonly outcome = 'hit'

  constructor(
    readonly reason: HitReason,
    readonly response: OutgoingResponse,
    /** Undefined where there is no entry. */
    readonly ref: EntryRef | undefined,
    readonly entry: Entry | undefined,
  ) {}

  /** Of the body that is sent. */
  get bytes(): number {
    return this.response.body?.length ?? 0
  }
}

/** Run the handler, and end the run with its response. */
export interface Miss {
  readonly outcome: 'miss'
  readonly reason: MissReason
  readonly run: HandlerRun
  readonly ref: EntryRef | undefined
}

/** Run the handler; the store is left out. */
export interface Bypass {
  readonly outcome: 'bypass'
  readonly reason: BypassReason
  readonly run: HandlerRun
}

/** Served past the lifetime. */
const STALE: ReadonlySet<HitReason> = new Set<HitReason>(['max-stale', 'stale-while-revalidate', 'stale', 'softened'])

/** The result of a lookup for telemetry. */
export function resultOf(lookup: RouteLookup): LookupResult {
  const { outcome, reason } = lookup
  if (lookup.outcome === 'bypass') return { outcome, reason }
  if (lookup.outcome === 'miss') return { outcome, reason, ref: lookup.ref }
  if (lookup.reason === 'only-if-cached') return { outcome: 'miss', reason, ref: undefined }
  if (!STALE.has(lookup.reason)) return lookup
  const { ref, entry, bytes } = lookup
  return { outcome: 'stale', reason, entry, ref, bytes }
}
