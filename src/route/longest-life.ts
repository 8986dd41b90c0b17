import type { HttpPolicy } from '../http/index.js'

/** Groups that are created for a fill live as long as the longest entry it may become; a longer one prolongs them when it is stored. */
export function longestLifeMs({ ttlMs, defaultTtlMs = 0, swrMs, sieMs, retainMs }: HttpPolicy): number {
  const lives = ttlMs === undefined ? [defaultTtlMs] : typeof ttlMs === 'number' ? [ttlMs] : [...ttlMs.values()]
  return Math.max(...lives) + Math.max(swrMs, sieMs, retainMs)
}
