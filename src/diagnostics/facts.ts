import type { Outcome } from './events.js'

/** What telemetry asks of an entry. */
export interface Kept {
  readonly storedAt: number
  readonly freshUntil: number
  readonly groups: readonly string[]
  readonly body: { readonly length: number }
}

/** What a lookup found. */
export interface Found {
  readonly outcome: Outcome
  readonly reason: string
  readonly entry?: Kept | undefined
  /** Where it was looked for. */
  readonly place?: { readonly key: string; readonly groups: readonly string[] } | undefined
  /** Of the body that is served. Default: that of the entry of a hit. */
  readonly bytes?: number | undefined
}

export interface Stored {
  readonly key: string
  readonly entry: Kept
  readonly ttlMs: number
}

export interface Evicting {
  readonly keys?: readonly string[] | undefined
  readonly groups?: readonly string[] | undefined
  readonly mode?: 'hard' | 'soft' | undefined
}

/** How an invalidation ended. */
export interface Evicted {
  readonly entries: number
  readonly confirmed: boolean
}
