import type { Redis } from '../create-redis.js'
import { UsageError } from '../errors.js'
import type { Connection } from '../redis/connection.js'
import { Keyspace, Scan } from '../store/keyspace.js'
import type { MatchKind, MatchStep } from '../store/store.js'

/** What is asked of a long list. */
export interface PageRequest {
  /** Only names that begin with this. Default: all. */
  readonly search?: string | undefined
  /** Where to go on: `cursor` of the page before. Default: the beginning. */
  readonly cursor?: string | undefined
  /** About so many items; a page may have a few more. Default 50. */
  readonly limit?: number | undefined
}

/** A part of a long list, in the order of the server. */
export interface Page<T> {
  readonly items: readonly T[]
  /** Where the next page begins; null at the end. A page may be empty before the end: nothing matched so far. */
  readonly cursor: string | null
  /** Keys that the server has looked at for this page. */
  readonly examined: number
  /** Addresses of primaries that do not answer: what they hold is missing. */
  readonly away: readonly string[]
}

/** Items of a page where nothing else is asked for. */
export const LIMIT_DEFAULT = 50

/** Most items of one page. */
export const LIMIT_MAX = 1000

/** Keys that one step looks at: well under a millisecond of the server's time. */
const STEP_FIRST = 100
const STEP_MAX = 1000

/** A page is given up after this long, with what was found: the next one goes on from there. */
const PAGE_MS = 500

/** One page of names, by SCAN over all servers. Nothing is locked; names that come or go meanwhile may be missed or repeated. */
export async function scanPage(redis: Redis, kind: MatchKind, request: PageRequest): Promise<Page<string>> {
  const { search = '', cursor = '0', limit = LIMIT_DEFAULT } = request
  if (redis.connection === undefined) return memoryPage(redis, kind, search, cursor, limit)
  const scan = scanOf(redis, redis.connection)
  return collect((from, count) => scan.match(kind, patternOf(search), from, count), cursor, limit)
}

/** One page of the keys of Redis that begin with `head` and then what is searched for, and end with `suffix`. */
export function scanNames(
  redis: Redis,
  connection: Connection,
  head: string,
  { search = '', cursor = '0', limit = LIMIT_DEFAULT, suffix = '' }: PageRequest & { readonly suffix?: string },
): Promise<Page<string>> {
  const scan = scanOf(redis, connection)
  return collect((from, count) => scan.step(from, patternOf(head + search) + suffix, count), cursor, limit)
}

function scanOf({ settings }: Redis, connection: Connection): Scan {
  return new Scan(connection, new Keyspace(settings.prefix), true)
}

function patternOf(start: string): string {
  return `${start.replaceAll(/[\\*?[\]]/g, '\\$&')}*`
}

/** That of a server, on a cluster after the number of a slot. */
const CURSOR = /^\d{1,20}(\.\d{1,20})?$/

async function collect(
  step: (cursor: string, count: number) => Promise<MatchStep>,
  from: string,
  limit: number,
): Promise<Page<string>> {
  if (!CURSOR.test(from)) throw new UsageError(`cursor: '${from}' is not from an earlier page`)
  const endAt = performance.now() + PAGE_MS
  const [found, missing] = [new Set<string>(), new Set<string>()]
  let [cursor, examined, count] = [from, 0, STEP_FIRST]
  do {
    const { keys, cursor: next, away } = await step(cursor, count)
    for (const key of keys) found.add(key)
    if (away !== undefined) missing.add(away)
    examined += count
    cursor = next
    if (keys.length === 0) count = Math.min(2 * count, STEP_MAX)
  } while (cursor !== '0' && found.size < limit && performance.now() < endAt)
  return { items: [...found], cursor: cursor === '0' ? null : cursor, examined, away: [...missing] }
}

/** The embedded store has no cursors: a page begins after the last name of the one before. */
async function memoryPage(
  redis: Redis,
  kind: MatchKind,
  search: string,
  from: string,
  limit: number,
): Promise<Page<string>> {
  const { keys } = await redis.scope.inspect.match(kind, '*', '0', LIMIT_MAX)
  const after = from === '0' ? '' : from
  const rest = keys.filter((key) => key.startsWith(search) && key > after).toSorted()
  const items = rest.slice(0, limit)
  return { items, cursor: rest.length > limit ? (items.at(-1) ?? null) : null, examined: keys.length, away: [] }
}
