import type { CacheScope } from '../cache/cache-scope.js'
import type { EntryLookup } from '../cache/entry-ref.js'
import type { ExplainedEntry, Explanation } from '../cache/explanation.js'
import { evaluateReuse, planRequest, type RequestPlan } from '../http/index.js'
import type { Entry } from '../store/entry.js'
import { isPath, locate, placeOf } from './entry-key.js'
import type { RoutePolicy } from './policy.js'
import type { BypassReason, RequestContext } from './request.js'
import type { Variants } from './variants.js'

/** What of a route an explanation is made from. */
export interface Explained<Req> {
  readonly name: string
  readonly policy: RoutePolicy<Req>
  readonly space: CacheScope
  readonly variants: Variants
}

/** Decides as a lookup does, and runs and stores nothing. */
export async function explain<Req>(route: Explained<Req>, request: RequestContext<Req>): Promise<Explanation> {
  const { policy } = route
  const plan = planRequest(request, policy.http)
  if (!policy.enabled) return bypass(route, 'disabled')
  if (plan.reason !== undefined) return bypass(route, plan.reason)
  if (!isPath(request.target)) return bypass(route, 'request-target')
  const location = await locate(request, policy)
  if (location.principal === null) return bypass(route, 'no-principal')
  for (;;) {
    const vary = route.variants.names(location.base)
    const place = placeOf(request, location, vary, policy.http)
    const look = await route.space.lookup(place)
    const marker = markerOf(look)
    if (marker !== undefined && route.variants.learn(location.base, marker)) continue
    return { ...NOTHING, route: route.name, key: route.space.nameOf(place.key), vary, ...weigh(route, plan, look) }
  }
}

const NOTHING = { key: undefined, vary: [], validates: false, servableOnError: false, entry: undefined } as const

function bypass(route: { readonly name: string }, reason: BypassReason): Explanation {
  return { ...NOTHING, route: route.name, outcome: 'bypass', reason }
}

function markerOf(look: EntryLookup): Entry | undefined {
  if (look.state === 'valid') return look.entry.kind === 'variants' ? look.entry : undefined
  if (look.state === 'outage') return undefined
  const marker = look.marker ?? (look.seen === 'any' ? undefined : look.seen)
  return marker?.kind === 'variants' ? marker : undefined
}

type Weighed = Pick<Explanation, 'outcome' | 'reason'> & Partial<Explanation>

function weigh<Req>({ policy, space }: Explained<Req>, plan: RequestPlan, look: EntryLookup): Weighed {
  if (look.state === 'outage') return { outcome: 'miss', reason: 'outage' }
  if (look.state === 'absent') return { outcome: 'miss', reason: 'absent' }
  const { entry, softened } = look
  if (entry.kind === 'pass') return { outcome: 'miss', reason: 'hit-for-pass' }
  if (entry.kind !== 'response') return { outcome: 'miss', reason: 'unusable' }
  const now = space.now()
  const { action, reason, conditional, servableOnError } = evaluateReuse(entry, plan, policy.http, now, softened)
  const stale = action === 'stale-while-revalidate' || reason === 'max-stale'
  const runs = action === 'validate' || action === 'unusable'
  return {
    outcome: runs ? 'miss' : stale ? 'stale' : 'hit',
    reason,
    validates: runs && conditional,
    servableOnError,
    entry: describe(entry, softened, now),
  }
}

function describe(entry: Entry, softened: boolean, now: number): ExplainedEntry {
  return {
    status: entry.status,
    storedAt: new Date(entry.storedAt),
    ageMs: entry.initialAgeMs + now - entry.storedAt,
    freshForMs: entry.freshUntil - now,
    groups: entry.groups.filter((group) => group !== ''),
    bodyBytes: entry.body.length,
    softened,
  }
}
