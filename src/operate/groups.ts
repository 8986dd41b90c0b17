import { encodePart } from '../cache/key.js'
import type { Redis } from '../create-redis.js'
import { groupName, type GroupName } from '../cache/names.js'
import { type Page, type PageRequest, scanPage } from './pages.js'

/** A group and its invalidations. Milliseconds since the epoch. */
export interface GroupSummary extends GroupName {
  /** Entries loaded before are not valid: the last invalidation, or, before the first one, the creation of the group. */
  readonly invalidatedAt: number | null
  /** Entries loaded before are stale; null: never evicted softly. */
  readonly softenedAt: number | null
}

/** A point of the logical clock as a time: microseconds that never go back, so at most a little ahead of the real time. */
export function clockTime(at: number): number {
  return Math.floor(at / 1000)
}

/** A page of the groups whose names begin with a text. The groups of paths, one for each path, are left out. */
export async function listGroups(redis: Redis, request: PageRequest): Promise<Page<GroupSummary>> {
  const { search = '' } = request
  const encoded = { ...request, search: search.startsWith(':') ? search : encodePart(search) }
  const { items: found, ...page } = await scanPage(redis, 'groups', encoded)
  const names = found.filter((name) => groupName(name).kind === 'group' || groupName(name).kind === 'namespace')
  const { stamps } = await redis.scope.inspect.read([], names)
  const items = names.flatMap((name, index) => {
    const stamp = stamps[index]
    if (stamp === undefined) return []
    const softenedAt = stamp.soft === 0 ? null : clockTime(stamp.soft)
    return [{ ...groupName(name), invalidatedAt: clockTime(stamp.hard), softenedAt }]
  })
  return { ...page, items }
}
