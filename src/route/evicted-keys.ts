import { OptionsError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { EvictPolicy, KeyPolicy } from './policy.js'
import { templateOf } from './templates.js'

/** A cached route, as far as keys of `cacheEvict` can name its entries. */
interface Cached {
  /** Method and template; undefined where the framework learns them with the first request. */
  readonly name: string | undefined
  readonly prefix: string | undefined
  readonly hasOwnKey: boolean
}

/** A `cacheEvict` with a key that is known without a request. */
interface Evicting {
  /** How its author calls the place of the options. */
  readonly where: string
  readonly name: string | undefined
  readonly prefix: string | undefined
  readonly key: 'path' | readonly unknown[]
  /** A mistake stops the start. Otherwise it is logged, because requests are already being served. */
  readonly isAtStart: boolean
}

/** Keys of `cacheEvict` that none of the application's cached routes can have. */
export class EvictedKeys {
  readonly #logger: Logger
  readonly #cached: Cached[] = []
  readonly #evicting: Evicting[] = []

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** A route is cached. `name`: method and template, where they are known. */
  cached({ key, prefix }: Pick<KeyPolicy<never>, 'key' | 'prefix'>, name?: string): void {
    this.#cached.push({ name, prefix, hasOwnKey: key !== undefined })
  }

  /** A route evicts a key. */
  evicting<Req>(
    { evictKey: key, prefix }: EvictPolicy<Req>,
    place: Pick<Evicting, 'where' | 'name' | 'isAtStart'>,
  ): void {
    if (key !== undefined && typeof key !== 'function') this.#evicting.push({ ...place, prefix, key })
  }

  /** Looks at every eviction since the last time. Throws OptionsError for one whose routes are known before requests. */
  check(): void {
    for (const one of this.#evicting.splice(0)) {
      const known = one.isAtStart ? this.#cached.filter(({ name }) => name !== undefined) : this.#cached
      const problem = problemOf(one, known)
      if (problem === undefined) continue
      if (one.isAtStart) throw new OptionsError(one.where, [problem])
      this.#logger.warn(`redwell: ${one.where} of ${one.name ?? 'a route'}: ${problem}`)
    }
  }
}

/** Undefined in an application that caches nothing: the entries are those of another one. */
function problemOf({ key, prefix, name }: Evicting, cached: readonly Cached[]): string | undefined {
  if (cached.length === 0) return undefined
  const isPath = key === 'path'
  const written = isPath ? "'path'" : JSON.stringify(key)
  const alike = cached.filter(({ hasOwnKey }) => hasOwnKey !== isPath)
  if (alike.length === 0) {
    return isPath
      ? `key: ${written} matches no entry, because every cached route has a \`key\` function: write the parts that it returns. ${ELSEWHERE}`
      : `key: ${written} matches no entry, because no cached route has a \`key\` function: write 'path' for the GET of this path. ${ELSEWHERE}`
  }
  const below = alike.filter((one) => one.prefix === prefix)
  const [other] = alike
  if (below.length === 0) {
    const own = prefix === undefined ? 'without a `prefix`' : `with the prefix '${prefix}'`
    const near = `${other?.name ?? 'another cached route'} ${other?.prefix === undefined ? 'has none' : `has '${other.prefix}'`}`
    return `key: ${written} matches no entry ${own}: ${near}; \`prefix\` must be the same on both. ${ELSEWHERE}`
  }
  const template = pathOf(name)
  const templates = below.map((one) => pathOf(one.name))
  if (!isPath || template === undefined || !templates.every((one) => one !== undefined)) return undefined
  if (templates.some((one) => canMeet(one, template))) return undefined
  const nearest = templates.reduce((best, one) => (shared(one, template) > shared(best, template) ? one : best))
  return `key: 'path' matches no entry, because no cached route has a path of ${template}; the nearest is ${nearest}: name that by a group, or call cache.deletePath in the handler. ${ELSEWHERE}`
}

const ELSEWHERE = "If another application caches it, write a function: key: () => 'path', or the parts"

/** Undefined where the name has none. */
function pathOf(name: string | undefined): string | undefined {
  const template = name === undefined ? '' : templateOf(name)
  return template.startsWith('/') ? template : undefined
}

/** Whether a path may be one of both templates. What is no plain text may be any text, and an end any end. */
function canMeet(one: string, other: string): boolean {
  const [first, second] = [segmentsOf(one), segmentsOf(other)]
  for (let index = 0; index < Math.max(first.length, second.length); index += 1) {
    const [a, b] = [first[index], second[index]]
    if (isOpen(a) || isOpen(b)) return true
    if (a === undefined || b === undefined) return false
    if (isText(a) && isText(b) && a.toLowerCase() !== b.toLowerCase()) return false
  }
  return true
}

function segmentsOf(template: string): readonly string[] {
  return template.split('/').filter((segment) => segment !== '')
}

/** A wildcard, or a part that may be missing. */
function isOpen(segment: string | undefined): boolean {
  return segment !== undefined && /[*?+]|^\{.*\/|\(/.test(segment)
}

function isText(segment: string): boolean {
  return !/[:{(*?]/.test(segment)
}

function shared(one: string, other: string): number {
  const [first, second] = [segmentsOf(one), segmentsOf(other)]
  const end = first.findIndex((segment, index) => segment !== second[index])
  return end === -1 ? first.length : end
}
