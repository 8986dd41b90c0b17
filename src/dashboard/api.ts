import type { Redis } from '../create-redis.js'
import { RedwellError, UsageError } from '../errors.js'
import { diagnose } from '../operate/doctor.js'
import { listEntries, showBody, showEntry } from '../operate/entries.js'
import { evict, type EvictTarget } from '../operate/evict.js'
import { explain } from '../operate/explain.js'
import { listGroups } from '../operate/groups.js'
import { healthOf } from '../operate/health.js'
import { listLimits, resetLimit } from '../operate/limits.js'
import { LIMIT_MAX, type PageRequest } from '../operate/pages.js'
import { words } from '../operate/reasons.js'
import { historyOf } from '../operate/totals.js'
import { BUCKET_MS, HISTORY_MS } from '../report/history.js'

/** A question that changes nothing. */
type Read = (redis: Redis, query: URLSearchParams) => Promise<unknown>

/** A change; its content is a JSON object. */
type Change = (redis: Redis, content: Readonly<Record<string, unknown>>) => Promise<unknown>

/** What the page asks by GET. Undefined becomes 404. */
export const READS: Readonly<Record<string, Read>> = {
  about: async (redis) => ({
    prefix: redis.settings.prefix,
    kind: redis.settings.kind,
    sessions: redis.sessions.isConfigured,
    words: words(),
  }),
  health: (redis) => healthOf(redis),
  async history(redis, query) {
    const now = redis.scope.now()
    const buckets = await redis.history.read(now - HISTORY_MS, now)
    return {
      from: now - HISTORY_MS,
      to: now,
      stepMs: BUCKET_MS,
      points: historyOf(buckets, query.get('origin') ?? undefined),
    }
  },
  entries: (redis, query) => listEntries(redis, pageOf(query)),
  entry: (redis, query) => showEntry(redis, query.get('key') ?? ''),
  body: (redis, query) => showBody(redis, query.get('key') ?? ''),
  groups: (redis, query) => listGroups(redis, pageOf(query)),
  limits: (redis, query) => listLimits(redis, pageOf(query)),
  doctor: (redis) => diagnose(redis),
  sessions: async (redis, query) => ({ items: await redis.sessions.list(query.get('subject') ?? '') }),
  explain: (redis, query) =>
    explain(redis, {
      method: query.get('method') ?? 'GET',
      url: query.get('url') ?? '/',
      headers: headersOf(query.get('headers') ?? ''),
    }),
}

/** What the page changes by POST. */
export const CHANGES: Readonly<Record<string, Change>> = {
  evict: (redis, content) => evict(redis, targetOf(content)),
  async 'reset-limit'(redis, content) {
    return { done: await resetLimit(redis, textOf(content, 'key')) }
  },
  async 'revoke-session'(redis, content) {
    return { done: await redis.sessions.revoke(textOf(content, 'subject'), textOf(content, 'handle')) }
  },
  async 'revoke-sessions'(redis, content) {
    return { count: await redis.sessions.revokeAll(textOf(content, 'subject')) }
  },
}

function pageOf(query: URLSearchParams): PageRequest {
  const limit = Number(query.get('limit') ?? 50)
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX)
    throw new UsageError(`limit: must be a whole number from 1 to ${LIMIT_MAX}`)
  return { search: query.get('search') ?? '', cursor: query.get('cursor') ?? undefined, limit }
}

/** `Name: value` lines. */
function headersOf(text: string): Record<string, string> {
  const lines = text.split('\n').filter((line) => line.includes(':'))
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).trim(), line.slice(line.indexOf(':') + 1).trim()]),
  )
}

const TARGETS = ['url', 'key', 'group', 'namespace', 'host', 'per', 'prefix'] as const

function targetOf(content: Readonly<Record<string, unknown>>): EvictTarget {
  const named = TARGETS.filter((name) => content[name] !== undefined)
  const texts = Object.fromEntries(named.map((name) => [name, textOf(content, name)]))
  return { ...texts, all: content['all'] === true, soft: content['soft'] === true }
}

function textOf(content: Readonly<Record<string, unknown>>, name: string): string {
  const value = content[name]
  if (typeof value !== 'string' || value === '') throw new UsageError(`${name}: must be a non-empty string`)
  return value
}

/** An error as the page shows it. Errors that are not redwell's own say nothing about themselves. */
export function problemOf(error: unknown): { readonly status: number; readonly problem: string } {
  if (!(error instanceof RedwellError))
    return { status: 500, problem: 'Something failed; see the log of the application.' }
  const status = error.code === 'ERR_REDWELL_UNAVAILABLE' ? 503 : 400
  return { status, problem: error.message }
}
