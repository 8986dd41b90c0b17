import type { KeyPart } from '../cache/key.js'
import { pathKey } from '../cache/key.js'
import type { Place } from '../cache/place.js'
import type { Space, Target } from '../cache/space.js'
import type { Write } from '../cache/write.js'
import { filterFields } from '../http/fields.js'
import { present, statusField } from '../http/present.js'
import { decideStore } from '../http/store.js'
import type { HeaderList, RequestHead, RequestPlan, ResponseHead } from '../http/types.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import type { MaybePromise } from '../store/port.js'
import { checkedKey, encodeGroups, hostOf, locate, placeOf } from './locate.js'
import type { WriteResult } from './options.js'
import type { EvictPolicy, RoutePolicy } from './policy.js'
import type { CacheRequest } from './request.js'
import { union, Variants } from './variants.js'

/** What a GET of the same URI would have: its representation is what a write-through stores (RFC 9110 section 9.3.4). */
const WRITE_THROUGH_STATUSES = new Set([200, 201])
/** Of the answer to the write, not of the representation. */
const WRITE_FIELDS = new Set(['location', 'content-location'])


export interface PutTarget<Req> {
  readonly space: Space
  readonly policy: RoutePolicy<Req>
}

export interface EvictTarget<Req> {
  readonly space: Space
  readonly policy: EvictPolicy<Req>
}

/** One write route: what a successful request stores and invalidates, before its response is released. */
export class RouteWrite<Req> {
  readonly #put: PutTarget<Req> | undefined
  readonly #evict: EvictTarget<Req> | undefined
  readonly #variants: Variants | undefined

  constructor(put: PutTarget<Req> | undefined, evict: EvictTarget<Req> | undefined) {
    this.#put = put?.policy.enabled === false ? undefined : put
    this.#evict = evict
    this.#variants = put === undefined ? undefined : new Variants(put.space, put.policy.http.vary)
  }

  /** Called before the handler runs. A write-through announces itself here, so that overlapping ones are noticed. */
  begin(request: CacheRequest<Req>): MaybePromise<WriteRun> {
    const put = this.#put
    if (put === undefined) return new WriteRun((result, response) => this.#finish(request, result, response, undefined), () => {})
    return this.#announce(request, put)
  }

  async #announce(request: CacheRequest<Req>, { space, policy }: PutTarget<Req>): Promise<WriteRun> {
    const location = await locate(request, policy)
    const names = this.#variants?.names(location.base) ?? []
    const place = location.principal === null ? undefined : placeOf(request, location, names)
    const write = place === undefined ? undefined : await space.announce(place.key)
    return new WriteRun(
      (result, response) => this.#finish(request, result, response, place === undefined ? undefined : { place, write, names }),
      () => void write?.cancel().catch(() => {}),
    )
  }

  async #finish(request: CacheRequest<Req>, result: Result, response: ResponseHead, put: Announced | undefined): Promise<HeaderList> {
    if (response.status >= 400) {
      await put?.write?.cancel().catch(() => {})
      return this.#statusField('BYPASS')
    }
    const target = await this.#target(request, result)
    if (put === undefined || this.#put === undefined) {
      if (target !== undefined) await this.#evict?.space.evict(target)
      return this.#statusField('BYPASS')
    }
    const stored = await this.#commit(request, result, response, put, this.#put, target)
    return this.#statusField(stored ? 'MISS' : 'BYPASS')
  }

  async #commit(
    request: CacheRequest<Req>,
    result: Result,
    response: ResponseHead,
    { place, write, names }: Announced,
    { space, policy }: PutTarget<Req>,
    target: Target | undefined,
  ): Promise<boolean> {
    const together = this.#evict?.space === space ? (target ?? {}) : {}
    if (target !== undefined && this.#evict?.space !== space) await this.#evict?.space.evict(target)
    if (write === undefined) {
      await space.evict({ ...together, keys: [...(together.keys ?? []), place.key, ...(place.base === undefined ? [] : [place.base])] })
      return false
    }
    const entry = this.#entry(request, result, response, place, write, policy)
    const family = entry === undefined ? '' : await this.#family(space, place, names, usefulUntil(entry) - entry.storedAt)
    const stored = entry === undefined || family === undefined ? undefined : { entry: { ...entry, family }, ttlMs: usefulUntil(entry) - entry.storedAt }
    return (await space.commit(write, stored, together)).published === 'stored'
  }

  /** Other variants of the path show the representation before this write, so they end; other principals' do not. */
  async #family(space: Space, place: Place, names: readonly string[], ttlMs: number): Promise<string | undefined> {
    if (place.base === undefined) return ''
    if (names.length > 0) await space.evict({ keys: [place.base] })
    return this.#variants?.family(place.base, names, ttlMs)
  }

  #entry(
    request: CacheRequest<Req>,
    { body }: Result,
    response: ResponseHead,
    place: Place,
    write: Write,
    policy: RoutePolicy<Req>,
  ): Entry | undefined {
    if (body === undefined || body.length > policy.http.maxBodyBytes || !WRITE_THROUGH_STATUSES.has(response.status)) return undefined
    const get: RequestHead = { method: 'GET', header: (name) => request.header(name) }
    const representation = { status: 200, headers: filterFields(response.headers, (name) => !WRITE_FIELDS.has(name)) }
    const now = this.#put?.space.now() ?? Date.now()
    const decision = decideStore(get, representation, policy.http, now)
    if (!decision.store || union(this.#variants?.names(place.base ?? place.key) ?? [], decision.learnedVary).length !== policy.http.vary.length) return undefined
    const { storedHeaders } = present(get, UNCONDITIONAL, representation, body, decision, policy.http, now)
    return {
      kind: 'response',
      flags: decision.flags,
      status: 200,
      ...decision.lifetimes,
      stamp: write.stamp,
      initialAgeMs: 0,
      family: '',
      groups: place.groups,
      headers: storedHeaders,
      body,
    }
  }

  async #target(request: CacheRequest<Req>, result: Result): Promise<Target | undefined> {
    if (this.#evict === undefined) return undefined
    const { policy } = this.#evict
    const group = typeof policy.group === 'function' ? await policy.group(request.native, result) : policy.group
    const key = typeof policy.evictKey === 'function' ? await policy.evictKey(request.native, result) : policy.evictKey
    const names = group === undefined ? [] : typeof group === 'string' ? [group] : group
    return { groups: encodeGroups(names), keys: key === undefined ? [] : [await this.#evictKey(request, key, policy)], mode: policy.mode }
  }

  /** Without `per`, the path itself: with it go the entries of all principals and all variants. */
  async #evictKey(request: CacheRequest<Req>, key: 'path' | readonly KeyPart[], policy: EvictPolicy<Req>): Promise<string> {
    const base = key === 'path' ? pathKey(request.target, policy.path, hostOf(request, policy)) : checkedKey(key)
    const principal = policy.per === undefined ? undefined : await policy.per(request.native)
    if (principal === undefined || principal === '') return base
    return placeOf(request, { base, principal, groups: [] }, []).key
  }

  #statusField(status: 'MISS' | 'BYPASS'): HeaderList {
    return this.#put === undefined ? [] : statusField(this.#put.policy.http, status)
  }
}

interface Announced {
  readonly place: Place
  /** Undefined where the store was away when the handler began. */
  readonly write: Write | undefined
  readonly names: readonly string[]
}

const UNCONDITIONAL: RequestPlan = {
  bypass: undefined,
  noStore: false,
  noCache: false,
  onlyIfCached: false,
  maxAgeMs: Infinity,
  minFreshMs: 0,
  conditional: false,
}

class Result implements WriteResult {
  readonly status: number
  readonly body: Buffer | undefined
  #json: { readonly value: unknown } | undefined

  constructor(status: number, body: Buffer | undefined) {
    this.status = status
    this.body = body
  }

  json(): unknown {
    this.#json ??= { value: this.#parse() }
    return this.#json.value
  }

  #parse(): unknown {
    if (this.body === undefined) return undefined
    try {
      return JSON.parse(this.body.toString()) as unknown
    } catch {
      return undefined
    }
  }
}

/** One request of a write route. */
export class WriteRun {
  readonly #finish: (result: Result, response: ResponseHead) => Promise<HeaderList>
  readonly #cancel: () => void
  #open = true

  constructor(finish: (result: Result, response: ResponseHead) => Promise<HeaderList>, cancel: () => void) {
    this.#finish = finish
    this.#cancel = cancel
  }

  /** The handler has answered. When this resolves, what it invalidates is invalid everywhere; gives the fields to add. */
  async finish(response: ResponseHead, body: Buffer | undefined): Promise<HeaderList> {
    if (!this.#open) return []
    this.#open = false
    return this.#finish(new Result(response.status, body), response)
  }

  /** The handler threw, or its client went away before it answered. */
  abandon(): void {
    if (!this.#open) return
    this.#open = false
    this.#cancel()
  }
}

