import { LRUCache } from 'lru-cache'
import type { CacheScope } from '../cache/cache-scope.js'
import type { EntryRef } from '../cache/entry-ref.js'
import type { FillLease } from '../cache/fill.js'
import { encodeGroup, originGroup } from '../cache/group.js'
import type { EntryDraft, StoredEntry } from '../cache/write.js'
import { type HttpPolicy, type RequestHead, type Storable, toStored } from '../http/index.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import { hostOf, type Location, refOf } from './entry-key.js'
import type { RequestState } from './request.js'

/** URIs whose learned Vary this process remembers; a forgotten one costs one more round trip. */
const LEARNED_MAX = 10_000

/** A record of variants lives at least this long, so that one short-lived variant does not end all others. */
const RECORD_MIN_MS = 3_600_000

/** Variants of one path that are kept: a request field with endless values would fill the store. */
export const VARIANTS_MAX = 32

/** A response to be stored. */
export class Stored {
  readonly decision: Storable
  readonly body: Buffer
  /** Groups that the handler added. */
  readonly groups: readonly string[]
  /** Encoded groups of the entry that this one is the validated form of: it stays in all of them. */
  readonly kept: readonly string[]

  constructor(decision: Storable, body: Buffer, groups: readonly string[], kept: readonly string[] = NONE) {
    this.decision = decision
    this.body = body
    this.groups = groups
    this.kept = kept
  }
}

const NONE: readonly string[] = []

/**
 * Which request fields select the responses of a route, and where a response is stored. The fields are those that the
 * route declares and those that its responses named. Where a lookup comes to a key whose variants have other fields, it
 * finds a record of them there (an entry of the kind `variants`). To lose a record costs a miss and nothing else.
 */
export class Variants {
  readonly #scope: CacheScope
  readonly #http: HttpPolicy
  readonly #learned = new LRUCache<string, readonly string[]>({ max: LEARNED_MAX })

  constructor(scope: CacheScope, http: HttpPolicy) {
    this.#scope = scope
    this.#http = http
  }

  /** Names of the selecting fields of a URI, lower case and sorted. */
  names({ uri }: Location): readonly string[] {
    return this.#learned.size === 0 ? this.#http.vary : (this.#learned.get(uri) ?? this.#http.vary)
  }

  /** The entry that the request's fields select; `named`: further fields that a response named. */
  ref(request: RequestHead, location: Location, named: readonly string[] = NONE): EntryRef {
    return refOf(request, location, unionOf(this.names(location), named), this.#http)
  }

  /** Takes over what a record says. False where it says nothing new. */
  learn(location: Location, record: Entry): boolean {
    const list = record.headers[1] ?? ''
    const names = list === '' ? NONE : list.split(',')
    if (sameNames(names, this.names(location))) return false
    this.#learned.set(location.uri, names)
    return true
  }

  /**
   * Stores the response of a run under its lease. `learns`: it named fields that did not select it so far, so that its
   * client should not be answered before the next request can find it.
   */
  store<Req>(state: RequestState<Req>, lease: FillLease, stored: Stored): { done: Promise<unknown>; learns: boolean } {
    const { request, location, ref } = state
    if (location === undefined || ref === undefined) return { done: lease.release(), learns: false }
    const known = this.names(location)
    const names = unionOf(known, stored.decision.varyNames)
    const target = refOf(request, location, names, this.#http)
    const draft = toDraft(stored, target.groups, hostOf(request, this.#http))
    if (target.key !== ref.key) {
      return { done: this.#storeLearned(location, names, lease, target, draft), learns: names !== known }
    }
    const publishing = lease.publish(draft.entry, draft.ttlMs)
    if (names.length === 0) return { done: publishing, learns: false }
    const record = this.#learned.has(location.uri) ? refOf(request, location, this.#http.vary, this.#http) : undefined
    return {
      done: Promise.all([publishing, this.#admit(target, draft.ttlMs), this.#keep(record, draft.ttlMs)]),
      learns: false,
    }
  }

  /** Stored variants of a path, for a handler that may say that one of them answers another request as well. */
  others(ref: EntryRef): Promise<readonly Entry[]> {
    return this.#scope.variants(ref, LIST)
  }

  /**
   * The variant is stored before the record that leads to it: the record ends the lease, so that those who waited find
   * the variant.
   */
  async #storeLearned(
    location: Location,
    names: readonly string[],
    lease: FillLease,
    target: EntryRef,
    { entry, ttlMs }: StoredEntry,
  ): Promise<void> {
    await Promise.all([this.#scope.put(target.key, entry, lease.stamp, ttlMs), this.#admit(target, ttlMs)])
    await lease.publish(recordOf(names, lease.ref.groups, this.#scope.now()), recordTtlMs(ttlMs))
    this.#learned.set(location.uri, names)
  }

  /** Makes room for one more variant. Principals are not counted: there are as many entries as people. */
  async #admit({ path, key }: EntryRef, ttlMs: number): Promise<void> {
    await this.#scope.addVariant(path, LIST, key, ttlMs, VARIANTS_MAX)
  }

  /** The record that leads to a variant lives as long as the variant. */
  async #keep(record: EntryRef | undefined, ttlMs: number): Promise<void> {
    if (record !== undefined) await this.#scope.extend(record.key, recordTtlMs(ttlMs))
  }
}

/** A path has one list of variants. */
const LIST = ''

function recordTtlMs(ttlMs: number): number {
  return Math.max(2 * ttlMs, RECORD_MIN_MS)
}

function recordOf(names: readonly string[], groups: readonly string[], now: number): EntryDraft {
  return {
    kind: 'variants',
    flags: 0,
    status: 0,
    storedAt: now,
    freshUntil: Infinity,
    staleUntil: Infinity,
    errorUntil: Infinity,
    initialAgeMs: 0,
    groups,
    headers: ['vary', names.join(',')],
    body: Buffer.alloc(0),
  }
}

/**
 * The entry of a response. `groups` are those of its place; `host` keeps the groups that responses name apart where
 * several origins share the cache.
 */
export function toDraft(stored: Stored, groups: readonly string[], host: string | undefined): StoredEntry {
  const { decision, body, groups: added, kept } = stored
  const more = [...kept, ...added.map(encodeGroup), ...responseGroups(decision.groups, host)]
  const all = more.length === 0 ? groups : [...new Set([...groups, ...more])]
  const entry: EntryDraft = { kind: 'response', ...toStored(decision, body), groups: all }
  return { entry, ttlMs: usefulUntil(entry) - entry.storedAt }
}

/** Groups that a response names, encoded. */
export function responseGroups(names: readonly string[], host: string | undefined): readonly string[] {
  return host === undefined ? names.map(encodeGroup) : names.map((name) => originGroup(host, name))
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((name, index) => name === b[index]))
}

function unionOf(a: readonly string[], b: readonly string[]): readonly string[] {
  return b.every((name) => a.includes(name)) ? a : [...new Set([...a, ...b])].sort()
}
