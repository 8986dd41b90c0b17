import { LRUCache } from 'lru-cache'
import type { CacheScope } from '../cache/cache-scope.js'
import type { FillLease } from '../cache/fill-lease.js'
import { encodeGroup, entryGroups, groupProblem, groupProblems, variantKey } from '../cache/key.js'
import { type EntryLookup, EntryRef } from '../cache/lookup.js'
import type { EntryDraft, StoredEntry } from '../cache/write.js'
import { describeValue, OptionsError } from '../errors.js'
import {
  ADDRESSES,
  CREDENTIALS,
  cookieOf,
  type HttpPolicy,
  type RequestHead,
  type SelectedField,
  selectedFields,
  type VaryResult,
  type VaryValue,
} from '../http/index.js'
import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import { pathGroup } from '../store/keyspace.js'
import type { RoutePolicy } from './policy.js'
import { type Stored, toDraft } from './stored.js'
import { hostOf, type KeyedRequest, pathsAbove, personalPathAbove, refuse, uriKey } from './uri-key.js'

/**
 * Where a request's entry is, before the request fields of Vary are looked at. A class, as all that a hit makes: V8 moves
 * literals of a busy place to old space.
 */
export class Location {
  constructor(
    /** The key of its URI, with the host where the route asks for it. */
    readonly uri: string,
    /** The key below which variants by request fields live: that of the URI, or of one principal below it. */
    readonly path: string,
    /** Whose entry it is; undefined where requests share it. */
    readonly principal: string | undefined,
    /** What the router has decided by, other than the path. */
    readonly routed: readonly SelectedField[],
    /** The values of `vary` that are no whole fields. */
    readonly values: readonly SelectedField[],
    /** Encoded; with those of the paths above its own. */
    readonly groups: readonly string[],
    /** The route's groups as the route names them. */
    readonly names: readonly string[],
  ) {}
}

/** The entry of the variant that the request's fields select. A variant is in the group of its path, a plain entry is not. */
function refOf(request: RequestHead, location: Location, names: readonly string[], http: HttpPolicy): EntryRef {
  const { path, groups, routed, values } = location
  if (names.length + routed.length + values.length === 0) return new EntryRef(path, path, groups)
  const key = variantKey(path, { fields: [...routed, ...values, ...selectedFields(request, names, http)] })
  return new EntryRef(key, path, [...groups, pathGroup(path)])
}

/** Finds the entries of one route's requests. */
export class EntryLocator<Req> {
  readonly #policy: RoutePolicy<Req>
  /** Encoded at the declaration: the author may change the list later. */
  readonly #groups: Groups | undefined

  constructor(policy: RoutePolicy<Req>) {
    this.#policy = policy
    this.#groups = typeof policy.group === 'function' ? undefined : encoded(policy.group)
  }

  /** Synchronous where every function of the options is: a hit from memory costs no turn of the event loop. */
  locate(request: KeyedRequest<Req>, principal: string | undefined): MaybePromise<Location> {
    const policy = this.#policy
    const { group } = policy
    const uri = uriKey(request, policy)
    const groups = this.#groups ?? (typeof group === 'function' ? chain(group(request.native), encoded) : NO_GROUPS)
    const values = valuesOf(request, policy.http.varyValues)
    if (isPromise(uri) || isPromise(groups) || isPromise(values)) {
      return Promise.all([uri, groups, values]).then((parts) => this.#location(request, principal, ...parts))
    }
    return this.#location(request, principal, uri, groups, values)
  }

  #location(
    request: KeyedRequest<Req>,
    principal: string | undefined,
    uri: string,
    own: Groups,
    values: readonly SelectedField[],
  ): Location {
    const { names } = own
    const { routed = NO_VALUES } = request
    // Evicting a path without its query, for all hosts, or for all principals, ends what is below it.
    const upper = pathsAbove(request, this.#policy, uri)
    if (principal === undefined) {
      const groups = upper.length === 0 ? own.encoded : [...own.encoded, ...upper]
      return new Location(uri, uri, principal, routed, values, groups, names)
    }
    const groups = [
      ...own.encoded,
      ...upper,
      ...personalPathAbove(request, this.#policy, uri, principal),
      pathGroup(uri),
    ]
    return new Location(uri, variantKey(uri, { principal }), principal, routed, values, groups, names)
  }
}

const NO_VALUES: readonly SelectedField[] = []

/** The values by which `vary` distinguishes requests. Throws OptionsError for results that are not allowed. */
function valuesOf<Req>(
  request: KeyedRequest<Req>,
  values: readonly VaryValue[],
): MaybePromise<readonly SelectedField[]> {
  if (values.length === 0) return NO_VALUES
  const selected = values.map(({ name, label, of }): MaybePromise<SelectedField> => {
    if (typeof of === 'string') return [name, cookieOf(request.header('cookie'), of)]
    return chain(of(request.native as never), (value) => [name, textOf(value, label)])
  })
  return selected.every(isReady) ? selected : Promise.all(selected.map(async (one) => one))
}

function isReady(value: MaybePromise<SelectedField>): value is SelectedField {
  return !isPromise(value)
}

function textOf(value: VaryResult, label: string): string | undefined {
  if (value === undefined || value === null) return undefined
  if (['string', 'number', 'bigint', 'boolean'].includes(typeof value)) return String(value)
  throw new OptionsError(`result of \`vary.${label}\``, [
    `${describeValue(value)} must be a string, number or boolean; undefined if the request has none`,
  ])
}

interface Groups {
  readonly names: readonly string[]
  /** The prefix's first. */
  readonly encoded: readonly string[]
}

const NONE: readonly string[] = []

const NO_GROUPS: Groups = { names: NONE, encoded: entryGroups(NONE) }

function encoded(group: string | readonly string[] | undefined): Groups {
  if (group === undefined) return NO_GROUPS
  const names = typeof group === 'string' ? [group] : [...group]
  refuse('groups of a request', groupProblems(names))
  return { names, encoded: entryGroups(names) }
}

/** Groups that a handler names. That there are too many is found when the response is there, and does not fail it. */
export function checkedNames(names: readonly string[]): readonly string[] {
  refuse('groups of a response', names.map(groupProblem))
  return names
}

/** Groups to evict, encoded: any number of them. */
export function encodedNames(group: string | readonly string[] | undefined): readonly string[] {
  const names = typeof group === 'string' ? [group] : (group ?? NONE)
  refuse('groups to evict', [...new Set(names.map(groupProblem))])
  return names.map(encodeGroup)
}

/** URIs whose learned Vary this process remembers; a forgotten one costs one more round trip. */
const LEARNED_MAX = 10_000

/** A record of variants lives at least this long, so that one short-lived variant does not end all others. */
const RECORD_MIN_MS = 3_600_000

/**
 * Variants of one path and principal that are kept: a request field with endless values would fill the store.
 * Principals are not counted, because there are as many entries as people.
 */
export const VARIANTS_MAX = 32

/**
 * Which request fields select the responses of a route, and where a response is stored. The fields are those that the
 * route declares and those that its responses named. Where a lookup comes to a key whose variants have other fields, it
 * finds a record of them there (an entry of the kind `variants`). To lose a record costs a miss and nothing else.
 */
export class Variants {
  readonly #scope: CacheScope
  readonly #http: HttpPolicy
  /** Made when a response names the first field: it reserves its whole length, and most routes need none. */
  #learned: LRUCache<string, readonly string[]> | undefined
  #unkeyed: { http: HttpPolicy; names: readonly string[]; fields: readonly string[] } | undefined

  constructor(scope: CacheScope, http: HttpPolicy) {
    this.#scope = scope
    this.#http = http
  }

  /** Names of the selecting fields of a URI, lower case and sorted. */
  names({ uri }: Location): readonly string[] {
    return this.#learned?.get(uri) ?? this.#http.vary
  }

  /** Fields whose reading makes a response one client's: see `unkeyedFields`. The list is the same for nearly every run. */
  unkeyed(http: HttpPolicy, location: Location): readonly string[] {
    const names = this.names(location)
    if (this.#unkeyed?.http !== http || this.#unkeyed.names !== names)
      this.#unkeyed = { http, names, fields: unkeyedFields(http, names) }
    return this.#unkeyed.fields
  }

  /** The entry that the request's fields select; `named`: further fields that a response named. */
  ref(request: RequestHead, location: Location, named: readonly string[] = NONE): EntryRef {
    return refOf(request, location, unionOf(this.names(location), named), this.#http)
  }

  /** Takes over a record of variants, valid or not. False where there is none, or nothing new in it. */
  learn(location: Location, found: EntryLookup): boolean {
    const record = found.state === 'valid' ? found.entry : found.state === 'absent' ? found.seen : undefined
    if (record === undefined || record === 'any' || record.kind !== 'variants') return false
    const list = record.headers[1] ?? ''
    if (list === this.names(location).join(',')) return false
    this.#remember(location.uri, list === '' ? NONE : list.split(','))
    return true
  }

  /**
   * Stores the response of a run under its lease. `learns`: it named fields that did not select it so far, so that its
   * client should not be answered before the next request can find it.
   */
  store(
    request: RequestHead,
    location: Location,
    lease: FillLease,
    stored: Stored,
  ): { done: Promise<unknown>; learns: boolean } {
    const known = this.names(location)
    const names = unionOf(known, stored.decision.varyNames)
    const target = refOf(request, location, names, this.#http)
    const draft = toDraft(stored, target.groups, hostOf(request, this.#http))
    this.#scope.groupNames.stored(draft.entry.groups)
    if (target.key !== lease.ref.key) {
      return { done: this.#storeLearned(location, names, lease, target, draft), learns: names !== known }
    }
    const work: Promise<unknown>[] = [lease.publish(draft.entry, draft.ttlMs)]
    if (target.key !== target.path) work.push(this.#scope.addVariant(target, draft.ttlMs, VARIANTS_MAX))
    // The record that leads to a variant lives as long as the variant.
    if (this.#learned?.has(location.uri) === true) {
      const record = refOf(request, location, this.#http.vary, this.#http)
      work.push(this.#scope.extend(record.key, recordTtlMs(draft.ttlMs)))
    }
    return { done: Promise.all(work), learns: false }
  }

  /**
   * The variant is stored before the record that leads to it: the record ends the lease, so that requests that waited
   * find the variant.
   */
  async #storeLearned(
    location: Location,
    names: readonly string[],
    lease: FillLease,
    target: EntryRef,
    { entry, ttlMs }: StoredEntry,
  ): Promise<void> {
    await Promise.all([
      this.#scope.put(target.key, entry, lease.stamp, ttlMs),
      this.#scope.addVariant(target, ttlMs, VARIANTS_MAX),
    ])
    await lease.publish(recordOf(names, lease.ref.groups, this.#scope.now()), recordTtlMs(ttlMs))
    this.#remember(location.uri, names)
  }

  #remember(uri: string, names: readonly string[]): void {
    this.#learned ??= new LRUCache({ max: LEARNED_MAX })
    this.#learned.set(uri, names)
  }
}

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

function unionOf(a: readonly string[], b: readonly string[]): readonly string[] {
  return b.every((name) => a.includes(name)) ? a : [...new Set([...a, ...b])].sort()
}

/**
 * Fields that do not select the entry, though the response of a handler that reads one is for one client: credentials,
 * addresses, and those that the route names. `names` are the fields that do select it.
 */
function unkeyedFields(policy: HttpPolicy, names: readonly string[]): readonly string[] {
  if (policy.unkeyedReads === 'ignore') return NONE
  const fields = [...CREDENTIALS, ...ADDRESSES, ...(policy.unkeyedReads === 'refuse' ? NONE : policy.unkeyedReads)]
  return fields.filter(
    (name) =>
      !names.includes(name) &&
      // `shared` says who may have the response, and the watch checks it; `auth` asserts that the field makes no difference.
      !(name === 'authorization' && policy.auth === 'shared' && !policy.shared) &&
      !(name === 'host' && policy.host),
  )
}
