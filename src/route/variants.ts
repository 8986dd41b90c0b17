import { LRUCache } from 'lru-cache'
import { randomUUID } from 'node:crypto'
import type { CacheScope } from '../cache/cache-scope.js'
import { type EntryRef, replacing } from '../cache/entry-ref.js'
import type { FillLease } from '../cache/fill.js'
import { PREFIX_GROUP } from '../cache/group.js'
import { digest } from '../cache/key.js'
import type { Entry } from '../store/entry.js'

/** Paths whose learned Vary this process remembers; a forgotten one costs one more round trip. */
const LEARNED_MAX = 10_000

/** A path's `variants` entry lives at least this long, so that one short-lived variant does not end all others. */
const LEAST_LIFE_MS = 3_600_000

/** Variants of one path and principal that are kept: a request field with endless values would fill the store. */
export const VARIANTS_MAX = 32

const PREFIX_ONLY = [PREFIX_GROUP]

/** Which request fields select the response of a path: those the route declares, and those its responses named. */
export class Variants {
  readonly #space: CacheScope
  readonly #declared: readonly string[]
  readonly #learned = new LRUCache<string, readonly string[]>({ max: LEARNED_MAX })

  constructor(space: CacheScope, declared: readonly string[]) {
    this.#space = space
    this.#declared = declared
  }

  /** Field names for a path, lower case and sorted. */
  names(base: string): readonly string[] {
    return this.#learned.size === 0 ? this.#declared : (this.#learned.get(base) ?? this.#declared)
  }

  /** Takes over what a `variants` entry says. True where that is news. */
  learn(base: string, marker: Entry): boolean {
    const names = namesOf(marker)
    if (sameNames(names, this.names(base))) return false
    this.#learned.set(base, names)
    return true
  }

  /**
   * The identity that variants of a path carry at the moment: of the entry that stands there, or of a new one. Undefined
   * where it cannot be had at once; then the response is not stored.
   */
  async family(base: string, names: readonly string[], ttlMs: number, known?: Entry): Promise<string | undefined> {
    if (known !== undefined && this.#serves(known, names)) return known.family
    const place: EntryRef = { key: base, groups: PREFIX_ONLY }
    const current = await this.#space.lookup(place)
    if (current.state === 'outage') return undefined
    if (current.state === 'valid' && this.#serves(current.entry, names)) return current.entry.family
    const acquired = await this.#space.acquire(place, current.state === 'valid' ? replacing(current.entry) : current, {
      accept: (entry) => this.#serves(entry, names),
      groupTtlMs: Infinity,
    })
    if (acquired.state === 'found') return acquired.entry.family
    if (acquired.state === 'alone') return undefined
    return this.plant(acquired.fill, names, ttlMs)
  }

  /** Puts a new `variants` entry at a path that is ours to fill. Gives its identity. */
  async plant(fill: FillLease, names: readonly string[], ttlMs: number): Promise<string | undefined> {
    const marker = makeMarker(names, fill.stamp, this.#space.now())
    const published = await fill.publish(marker, Math.max(2 * ttlMs, LEAST_LIFE_MS))
    if (published === 'fenced') return undefined
    this.learn(fill.place.key, marker)
    return marker.family
  }

  /** Makes room for one more variant. Principals are not counted: there are as many entries as people. */
  async admit(
    family: string,
    names: readonly string[],
    place: EntryRef,
    principal: Principal,
    ttlMs: number,
  ): Promise<void> {
    if (names.length > 0) await this.#space.enrol(listOf(family, principal), place.key, ttlMs, VARIANTS_MAX)
  }

  /** What is stored for other values of the fields that select. */
  others(family: string, principal: Principal): Promise<readonly Entry[]> {
    return this.#space.enrolled(listOf(family, principal), PREFIX_ONLY)
  }

  /** The path's `variants` entry lives as long as the longest of its variants. */
  keep(base: string, ttlMs: number): Promise<void> {
    return this.#space.prolong(base, ttlMs)
  }

  #serves(entry: Entry, names: readonly string[]): boolean {
    return entry.kind === 'variants' && sameNames(namesOf(entry), names)
  }
}

type Principal = string | null | undefined

function listOf(family: string, principal: Principal): string {
  return principal === undefined || principal === null ? family : `${family}:${digest(principal)}`
}

function makeMarker(names: readonly string[], stamp: number, now: number): Entry {
  return {
    kind: 'variants',
    flags: 0,
    status: 0,
    storedAt: now,
    stamp,
    freshUntil: Infinity,
    staleUntil: Infinity,
    errorUntil: Infinity,
    initialAgeMs: 0,
    family: randomUUID(),
    groups: PREFIX_ONLY,
    headers: ['vary', names.join(',')],
    body: Buffer.alloc(0),
  }
}

function namesOf(marker: Entry): readonly string[] {
  const list = marker.headers[1] ?? ''
  return list === '' ? [] : list.split(',')
}

export function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((name, index) => name === b[index]))
}

export function union(a: readonly string[], b: readonly string[]): readonly string[] {
  return b.every((name) => a.includes(name)) ? a : [...new Set([...a, ...b])].sort()
}
