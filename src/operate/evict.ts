import type { Evicted } from '../cache/cache-scope.js'
import { encodeGroup, namespaceGroup, plainPathKey, PREFIX_GROUP } from '../cache/key.js'
import type { Redis } from '../create-redis.js'
import { UsageError } from '../errors.js'
import { pathGroup } from '../store/keyspace.js'
import { ask } from './live.js'

/** One name, or several. */
export type Names = string | readonly string[] | undefined

export function namesOf(names: Names): readonly string[] {
  return typeof names === 'string' ? [names] : (names ?? [])
}

/** What to evict. */
export interface EvictTarget {
  /** A path with query, or an absolute URL: the entries of all routes that cache it, all variants and principals. */
  readonly url?: string | undefined
  /** The entry with this key, as lists show it, and its variants. */
  readonly key?: Names
  readonly group?: Names
  readonly namespace?: Names
  /** Everything under the prefix. */
  readonly all?: boolean | undefined
  /** Of `url`: the entries of this host, principal, or route prefix only. */
  readonly host?: string | undefined
  readonly per?: string | undefined
  readonly prefix?: string | undefined
  /** Stale from now on, and served while renewed where the route allows that. */
  readonly soft?: boolean | undefined
}

export interface EvictResult extends Evicted {
  /** Keys that were evicted; those of a URL are what its routes answer to it. */
  readonly keys: readonly string[]
  /** Whether anything that may still be stored was named; false for a name that no entry has. */
  readonly found: boolean
  /** Why it is not confirmed. */
  readonly problem?: string | undefined
}

const NAMED = ['url', 'key', 'group', 'namespace'] as const

const NARROWING = ['host', 'per', 'prefix'] as const

/**
 * Throws UsageError where nothing is named, a name is empty, or an option would be ignored: it was meant to narrow what
 * is evicted. `write`: a name as its user writes it.
 */
export function checkTarget(target: EvictTarget, write: (name: keyof EvictTarget) => string): void {
  const given = [...NAMED, ...NARROWING].filter((name) => target[name] !== undefined)
  const empty = given.find((name) => target[name] === '' || namesOf(target[name]).includes(''))
  if (empty !== undefined) throw new UsageError(`${write(empty)}: must not be empty`)
  const named = NAMED.filter((name) => target[name] !== undefined)
  if (target.all === true && given.length > 0)
    throw new UsageError(
      `${write('all')}: evicts everything, so it cannot be combined with ${given.map(write).join(', ')}`,
    )
  const narrowing = NARROWING.find((name) => target[name] !== undefined)
  const other = named.find((name) => name !== 'url')
  if (narrowing !== undefined && (other !== undefined || named.length === 0))
    throw new UsageError(
      `${write(narrowing)}: narrows the entries of a URL only; ${other === undefined ? 'name one' : `it cannot be combined with ${write(other)}`}`,
    )
  if (target.all !== true && named.length === 0)
    throw new UsageError(`Name what to evict: ${[...NAMED, 'all' as const].map(write).join(', ')}.`)
}

/** Evicts what a target names. Rejects with UsageError where `checkTarget` throws. */
export async function evict(redis: Redis, target: EvictTarget): Promise<EvictResult> {
  checkTarget(target, (name) => name)
  const groups = [
    ...namesOf(target.group).map(encodeGroup),
    ...namesOf(target.namespace).map(namespaceGroup),
    ...(target.all === true ? [PREFIX_GROUP] : []),
  ]
  const keys = [...namesOf(target.key), ...(target.url === undefined ? [] : await pathsOf(redis, target.url, target))]
  const isKnown = await mayBeStored(redis, [...keys.map(pathGroup), ...groups])
  const evicted = await redis.scope.evict({ paths: keys, groups, mode: target.soft === true ? 'soft' : 'hard' })
  const found = evicted.entries > 0 || isKnown
  return { ...evicted, keys, found, problem: evicted.confirmed ? undefined : redis.scope.problem }
}

/** Without a stamp of one of its groups no entry is valid. Where Redis does not answer, the eviction reports it. */
async function mayBeStored({ scope }: Redis, groups: readonly string[]): Promise<boolean> {
  if (groups.includes(PREFIX_GROUP)) return true
  try {
    const { stamps } = await scope.inspect.read([], groups)
    return stamps.some((stamp) => stamp !== undefined)
  } catch {
    return true
  }
}

/** The keys under which running processes cache a URL, and the one of a route without options. */
async function pathsOf(redis: Redis, url: string, { host, per, prefix }: EvictTarget): Promise<readonly string[]> {
  const options = {
    ...(host === undefined ? {} : { host }),
    ...(per === undefined ? {} : { per }),
    ...(prefix === undefined ? {} : { prefix }),
  }
  // The routes of this process know; those of other processes are the same, or another application's.
  const known = redis.cache.pathsOf(url, options)
  if (known !== undefined) return known
  const answers = await ask(redis, { kind: 'paths', url, ...options })
  return [...new Set([plainPathKey(url, options), ...answers.flatMap(({ paths }) => paths ?? [])])]
}
