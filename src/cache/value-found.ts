import type { Found } from '../diagnostics/facts.js'
import type { ValueEntry } from './contract.js'
import type { Look, Place } from './place.js'
import type { Decoded } from './values.js'

/** What telemetry is told of a value that is served while it is fresh, and of nothing else. */
export function freshFound(look: Look, decoded: Decoded | undefined, place: Place): Found {
  if (look.state !== 'valid' || decoded === undefined) return { outcome: 'miss', reason: whyMissed(look), place }
  const { entry } = look
  if (decoded.state === 'value') return { outcome: 'hit', reason: 'fresh', entry, place }
  // It is known that there is nothing, which saved a loader as well.
  if (decoded.state === 'negative') return { outcome: 'hit', reason: 'negative', entry, place }
  return { outcome: 'miss', reason: decoded.state, place }
}

/** Why what was seen at a key is no fresh value. */
export function whyMissed(look: Look): string {
  if (look.state !== 'valid') return look.state
  if (look.entry.kind === 'pass') return 'hit-for-pass'
  return look.softened ? 'softened' : 'stale'
}

/** What telemetry is told of a value that is given whatever its age. */
export function entryFound(entry: ValueEntry<unknown>, look: Look, place: Place): Found {
  if (entry.outcome === 'miss' || look.state !== 'valid')
    return { outcome: 'miss', reason: entry.outcome === 'miss' ? entry.reason : 'absent', place }
  if (entry.outcome === 'stale') return { outcome: 'stale', reason: 'stale', entry: look.entry, place }
  return { outcome: 'hit', reason: entry.outcome === 'hit' ? 'fresh' : 'negative', entry: look.entry, place }
}
