import type { CacheScope } from '../cache/cache-scope.js'
import type { EntryLookup } from '../cache/entry-ref.js'
import type { ExplainedEntry, Explanation } from '../cache/explanation.js'
import { evaluateReuse, planRequest, type RefusalReason, type RequestPlan } from '../http/index.js'
import type { Logger } from '../logger.js'
import type { Entry } from '../store/entry.js'
import { pathGroup } from '../store/keyspace.js'
import type { Recorder } from '../telemetry/recorder.js'
import { type EntryLocator, isPath } from './entry-key.js'
import type { RoutePolicy } from './policy.js'
import type { BypassReason, RequestContext } from './request.js'
import type { Variants } from './variants.js'

/** What an explanation needs of a route. */
export interface ExplainedRoute<Req> {
  readonly name: string
  readonly policy: RoutePolicy<Req>
  readonly scope: CacheScope
  readonly locator: EntryLocator<Req>
  readonly variants: Variants
}

/** Decides as a lookup does, and runs and stores nothing. */
export async function explain<Req>(route: ExplainedRoute<Req>, request: RequestContext<Req>): Promise<Explanation> {
  const { policy, variants, scope } = route
  const plan = planRequest(request, policy.http)
  if (!policy.enabled) return bypass(route, 'disabled')
  if (plan.reason !== undefined) return bypass(route, plan.reason)
  if (!isPath(request.target)) return bypass(route, 'request-target')
  const location = await route.locator.locate(request)
  if (location.principal === null) return bypass(route, 'no-principal')
  for (;;) {
    const vary = variants.names(location)
    const ref = variants.ref(request, location)
    const found = await scope.lookup(ref)
    const record = recordIn(found)
    if (record !== undefined && variants.learn(location, record)) continue
    return { ...NOTHING, route: route.name, key: scope.nameOf(ref.key), vary, ...evaluate(route, plan, found) }
  }
}

const NOTHING = { key: undefined, vary: [], validates: false, servableOnError: false, entry: undefined } as const

function bypass(route: { readonly name: string }, reason: BypassReason): Explanation {
  return { ...NOTHING, route: route.name, outcome: 'bypass', reason }
}

/** The record of variants that a lookup came to, valid or not: the names in it are only where to look next. */
export function recordIn(found: EntryLookup): Entry | undefined {
  const entry = found.state === 'valid' ? found.entry : found.state === 'absent' ? found.seen : undefined
  return entry !== 'any' && entry?.kind === 'variants' ? entry : undefined
}

type Evaluated = Pick<Explanation, 'outcome' | 'reason'> & Partial<Explanation>

function evaluate<Req>({ policy, scope }: ExplainedRoute<Req>, plan: RequestPlan, found: EntryLookup): Evaluated {
  if (found.state !== 'valid') return { outcome: 'miss', reason: found.state }
  const { entry, softened } = found
  if (entry.kind !== 'response') return { outcome: 'miss', reason: 'unusable' }
  const now = scope.now()
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

/** Beginning of the groups of paths, which are no names of the application. */
const PATH_GROUPS = pathGroup('')

function describe(entry: Entry, softened: boolean, now: number): ExplainedEntry {
  return {
    status: entry.status,
    storedAt: new Date(entry.storedAt),
    ageMs: entry.initialAgeMs + now - entry.storedAt,
    freshForMs: entry.freshUntil - now,
    groups: entry.groups.filter((group) => group !== '' && !group.startsWith(PATH_GROUPS)),
    bodyBytes: entry.body.length,
    softened,
  }
}

/** Why a response was not stored, in the words of a log line. */
const REFUSALS: Readonly<Record<RefusalReason | 'refresh-failed', string>> = {
  method: 'only responses to GET are stored',
  head: 'a HEAD has no content to store',
  'request-no-store': 'the request says no-store',
  precondition: 'the request has If-Match or If-Unmodified-Since',
  authorization: 'the request has Authorization (options `per` and `auth`)',
  status: 'its status is not one that the route stores (option `statuses`, or `ttl` by status)',
  partial: 'it is a part of a representation',
  truncated: 'its body ended early',
  'set-cookie': 'it sets a cookie (option `setCookie`)',
  'unkeyed-read': 'its handler read a cookie or credential that is not part of the key (options `per` and `vary`)',
  'response-no-store': 'it says Cache-Control: no-store',
  'response-private': 'it says Cache-Control: private, and the route has no `per`',
  'response-no-cache': 'it says Cache-Control: no-cache and has nothing to validate it by',
  'vary-star': 'it says Vary: *',
  'content-encoding': 'it is already encoded, and does not vary on Accept-Encoding (option `encoded`)',
  'no-freshness': 'neither the route nor the response gives it a lifetime',
  'already-stale': 'it is stale already',
  'body-too-large': 'its body is over `maxBodyBytes`',
  'headers-too-large': 'its header fields are over `maxHeaderBytes`',
  'too-many-groups': 'it carries more groups than an entry can',
  'event-stream': 'an event stream never ends',
  'content-location': 'its Content-Location is not its own URI',
  'refresh-failed': 'the handler failed in the background, or its response may not be stored; the stale entry stays',
}

/** Logs why a route's responses are not stored: each reason once, so that the log stays readable. */
export class RefusalLog {
  readonly #route: string
  readonly #logger: Logger
  readonly #recorder: Recorder
  readonly #logged = new Set<string>()

  constructor(route: string, logger: Logger, recorder: Recorder) {
    this.#route = route
    this.#logger = logger
    this.#recorder = recorder
  }

  /** `field`: what the handler read, of `unkeyed-read`. */
  add(reason: RefusalReason | 'refresh-failed', field?: string): void {
    this.#recorder.refused(reason)
    const read = reason === 'unkeyed-read' && field !== undefined ? ` (it read ${field})` : ''
    const text = `redwell: a response of ${this.#route} was not stored: ${REFUSALS[reason]}${read}`
    if (this.#logged.has(text)) return
    this.#logged.add(text)
    this.#logger.warn(text)
  }
}
