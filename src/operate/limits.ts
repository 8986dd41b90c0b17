import type { Redis } from '../create-redis.js'
import { decodeLimitState, type LimitState } from '../limit/limit-state.js'
import { absentIfForeign } from '../store/redis-commands.js'
import { encodePart } from '../cache/key.js'
import { decodePart } from '../cache/names.js'
import { LIMIT_MAX, type Page, type PageRequest, scanNames } from './pages.js'

/** What is counted for one identity. */
export interface LimitSummary extends LimitState {
  /** As `reset` takes it: without prefix. */
  readonly key: string
  readonly scope: string
  /** Whom it counts; a digest at the end where the name was long. */
  readonly identity: string
  /** Milliseconds; 0: not banned. */
  readonly bannedForMs: number
}

/** A page of what is counted, of the scopes that begin with a text. */
export async function listLimits(redis: Redis, request: PageRequest): Promise<Page<LimitSummary>> {
  const head = `${redis.settings.prefix}:limit:`
  const search = keyBegin(request.search ?? '')
  const { connection, scope } = redis
  const now = scope.now()
  if (connection === undefined) {
    const found = [...redis.limits.local()].filter(([name]) => name.startsWith(head + search))
    const states = found.slice(0, LIMIT_MAX)
    const items = states.map(([name, state]) => summaryOf(name.slice(head.length), state, now))
    return { items, cursor: null, examined: states.length, away: [] }
  }
  const { items: names, ...page } = await scanNames(redis, connection, head, { ...request, search })
  const items = await Promise.all(
    names.map(async (name) => {
      const bytes = await connection.execute(['GET', name], name, connection.bulkBudget()).catch(absentIfForeign)
      const state = Buffer.isBuffer(bytes) ? decodeLimitState(bytes, now) : undefined
      return state === undefined ? [] : [summaryOf(name.slice(head.length), state, now)]
    }),
  )
  return { ...page, items: items.flat() }
}

/** The beginning of keys whose names begin so; a key is understood as well. */
function keyBegin(search: string): string {
  const parts = search.split(':')
  return parts.map((part) => encodePart(decodePart(part))).join(':')
}

function summaryOf(key: string, state: LimitState, now: number): LimitSummary {
  const split = key.indexOf(':')
  const [scope, identity] = split === -1 ? [key, ''] : [key.slice(0, split), key.slice(split + 1)]
  const bannedForMs = Math.max(0, state.bannedUntil - now)
  return { ...state, key, scope: decodePart(scope), identity: decodePart(identity), bannedForMs }
}

/**
 * Forgets what is counted under a key of `listLimits`, and a ban, in all processes. Resolves to false if there was
 * nothing.
 */
export async function resetLimit(redis: Redis, key: string): Promise<boolean> {
  return redis.limits.resetKey(`${redis.settings.prefix}:limit:${key}`)
}
