import { CacheScope } from '../../src/cache/cache-scope.js'
import type { EntryLookup, EntryRef } from '../../src/cache/lookup.js'
import type { FillLease } from '../../src/cache/fill-lease.js'
import type { InvalidationTarget } from '../../src/cache/pending-invalidations.js'
import type { PendingWrite } from '../../src/cache/write.js'
import { createRedis, type Redis } from '../../src/create-redis.js'
import type { CacheEvictOptions, CacheOptions } from '../../src/route/options.js'
import type { RequestContext } from '../../src/route/request.js'
import type { Entry } from '../../src/store/entry.js'
import { pathGroup } from '../../src/store/keyspace.js'
import type { Store } from '../../src/store/store.js'
import { type Answer, Application, type Asked, type Fields, type Reply, type Sent } from '../route/application.js'
import { makeEntry } from '../support/entries.js'
import { StoreSlot } from '../support/controlled-store.js'
import { silentLogger } from '../support/logger.js'
import {
  type Cell,
  type Change,
  hasOwnKey,
  type Host,
  type Kind,
  type OpenSubject,
  SESSION_KIND,
  Source,
  type Subject,
} from './crossings.js'

const TTL_MS = 60_000

/** What a route or namespace does with one kind of entry, in one process. */
export class ScopeSubject implements Subject {
  readonly scope: CacheScope
  readonly #kind: Kind
  readonly #source: Pick<Source, 'read' | 'write'>
  readonly #path: string
  readonly #variant: string
  #learned = false

  constructor(scope: CacheScope, kind: Kind, source: Pick<Source, 'read' | 'write'>, path = '/a') {
    this.scope = scope
    this.#kind = kind
    this.#source = source
    this.#path = path
    this.#variant = `${path}|accept=text`
  }

  get #ref(): EntryRef {
    const path = this.#path
    const groups = ['', `g${path}`]
    const below = [...groups, pathGroup(path)]
    if (this.#kind === 'per principal') return { key: `${path}|per:ann`, path: `${path}|per:ann`, groups: below }
    const varies = this.#kind === 'declared vary' || (this.#kind === 'learned vary' && this.#learned)
    return varies ? { key: this.#variant, path, groups: below } : { key: path, path, groups }
  }

  /** One request; the version that it is answered with. */
  async read(): Promise<number> {
    const ref = this.#ref
    const found = await this.scope.lookup(ref)
    if (found.state === 'valid' && found.entry.kind === 'variants') return this.#learn()
    if (found.state === 'valid' && !found.softened) return versionOf(found.entry)
    if (found.state === 'outage') return this.#source.read()
    return this.#fill(ref, found)
  }

  #learn(): Promise<number> {
    this.#learned = true
    return this.read()
  }

  async #fill(ref: EntryRef, found: Exclude<EntryLookup, { state: 'outage' }>): Promise<number> {
    const absent =
      found.state === 'absent' ? found : ({ state: 'absent', seen: found.entry, absentGroups: [] } as const)
    const acquired = await this.scope.fills.acquire(ref, absent, {
      accept: (_, softened) => !softened,
      groupTtlMs: TTL_MS,
    })
    if (acquired.state === 'alone') return this.#source.read()
    if (acquired.state === 'fill') return this.#run(acquired.fill)
    if (acquired.entry.kind !== 'variants') return versionOf(acquired.entry)
    // It has waited: it looks once more, and runs alone.
    this.#learned = true
    const again = await this.scope.lookup(this.#ref)
    return again.state === 'valid' && !again.softened ? versionOf(again.entry) : this.#source.read()
  }

  async #run(fill: FillLease): Promise<number> {
    try {
      const version = await this.#source.read()
      await this.#publish(fill, version).catch(() => {})
      return version
    } finally {
      await fill.release()
    }
  }

  async #publish(fill: FillLease, version: number): Promise<void> {
    const { groups } = fill.ref
    if (this.#kind === 'learned vary' && !this.#learned) {
      const variant = entryOf(version, [...groups, pathGroup(this.#path)])
      await this.scope.put(this.#variant, variant, fill.stamp, TTL_MS)
      await fill.publish({ ...makeEntry({ kind: 'variants', groups: [''] }) }, TTL_MS)
      this.#learned = true
    } else await fill.publish(entryOf(version, this.#groupsOf(groups)), TTL_MS)
  }

  /** Groups that the handler names are known after it. */
  #groupsOf(groups: readonly string[]): readonly string[] {
    return this.#kind === 'named groups' ? [...groups, 'named'] : groups
  }

  write(): Promise<void> {
    return this.#write([])
  }

  async #write(evicts: readonly string[], stores = true): Promise<void> {
    const ref = this.#ref
    const write = await this.scope.beginWrite(ref, { groups: evicts, groupTtlMs: TTL_MS })
    const version = await this.#source.write()
    return this.#commit(ref, write, stores ? version : undefined, evicts)
  }

  async #commit(
    ref: EntryRef,
    write: PendingWrite | undefined,
    version: number | undefined,
    groups: readonly string[],
  ): Promise<void> {
    // Where principals are told apart below the path, a write ends the others' entries as well.
    const paths = ref.path === this.#path ? [] : [this.#path]
    if (write === undefined) return void (await this.scope.evict({ paths: [ref.path, ...paths], groups }))
    // What varies by fields that are not known yet has no place.
    const known = this.#kind !== 'learned vary' || this.#learned
    const entry = version === undefined || !known ? undefined : entryOf(version, this.#groupsOf(ref.groups))
    await this.scope.commit(write, entry && { entry, ttlMs: TTL_MS }, { groups, paths })
  }

  async change(change: Change): Promise<void> {
    if (change === 'write-through') return this.#write([])
    if (change === 'write-through with its own group') return this.#write([`g${this.#path}`])
    if (change === 'write that stores nothing') return this.#write([], false)
    const version = await this.#source.write()
    const { key, groups } = this.#ref
    if (change === 'set') await this.scope.set(key, entryOf(version, groups), TTL_MS).catch(() => {})
    else if (change === 'clear') await this.scope.evict({ groups: [''] })
    else await this.scope.evict(targetOf(change, this.#path))
  }

  async close(): Promise<void> {
    this.scope.close()
  }
}

function targetOf(change: Change, path: string): InvalidationTarget {
  const mode = change.startsWith('soft') ? 'soft' : 'hard'
  if (change.endsWith('path')) return { paths: [path], mode }
  if (change === 'evict named group') return { groups: ['named'] }
  return { groups: change === 'evict groups' ? ['other', `g${path}`] : [`g${path}`], mode }
}

function entryOf(version: number, groups: readonly string[]): Entry {
  return makeEntry({ groups, body: Buffer.from(String(version)) })
}

function versionOf({ body }: Entry): number {
  return Number(body.toString())
}

/**
 * One process that takes part in cell after cell, because a handle and its routes cost more to make than a cell does to
 * run. Each cell has a store, a source and a path of its own.
 */
interface Participant extends Subject {
  readonly isIdle: boolean
  enter(store: Store, source: Source, cell: number): void
}

/** A GET route and the write routes of its path. */
class RouteSubject implements Participant {
  readonly #app: Application
  readonly #kind: Kind
  readonly #slot = new StoreSlot()
  isIdle = true
  readonly #get: () => Promise<Reply>
  readonly #write: () => Promise<unknown>
  readonly #changes: Partial<Record<Change, () => Promise<unknown>>>
  #source = new Source()
  #path = '/'

  constructor(kind: Kind) {
    const route = kindOfRoute<Asked>(
      kind,
      () => this.#source,
      ({ headers }, name) => headers[name],
    )
    const { options, evicts, reader, changer } = route
    const app = new Application({ store: () => this.#slot.store }, {}, (sent) => contextOf(route, sent))
    const key = hasOwnKey(kind) ? ['thing'] : 'path'
    this.#app = app
    this.#kind = kind
    const write = async (): Promise<Answer> => this.#answer(await this.#source.write())
    const evict = (target: CacheEvictOptions<Asked>) => {
      const evicting = app.evict({ ...evicts, ...target }, write)
      // A write of the same path would invalidate it by itself, whatever the group.
      return () => evicting('key' in target ? this.#path : '/other', changer)
    }
    const get = app.get(options, async () => this.#answer(await this.#source.read()))
    const put = app.put(options, write)
    const rewrite = app.rewrite(options, { ...evicts, group: 'g' }, write)
    const refused = app.put(options, async () => ({ ...(await write()), headers: ['Cache-Control', 'no-store'] }))
    const unsafe = app.plain(write)
    this.#get = () => get(this.#path, reader)
    this.#write = () => put(this.#path, reader)
    this.#changes = {
      'evict path': evict({ key }),
      'evict group': evict({ group: 'g' }),
      'evict groups': evict({ group: ['other', 'g'] }),
      'evict named group': evict({ group: 'named' }),
      'soft by path': evict({ key, mode: 'soft' }),
      'soft by group': evict({ group: 'g', mode: 'soft' }),
      'write-through': () => put(this.#path, changer),
      'write-through with its own group': () => rewrite(this.#path, [], changer),
      'write that stores nothing': () => refused(this.#path, changer),
      automatic: () => unsafe('PUT', this.#path, changer),
      'delete path': () => this.#source.write().then(() => app.redis.cache.deletePath(this.#path)),
      clear: () => this.#source.write().then(() => app.redis.cache.clear()),
    }
  }

  enter(store: Store, source: Source, cell: number): void {
    this.#slot.enter(store)
    this.isIdle = false
    this.#source = source
    this.#path = `/${cell}`
    this.#app.now = Date.now()
  }

  get scope(): CacheScope {
    return this.#app.redis.scope
  }

  #answer(version: number): Answer {
    const headers = this.#kind === 'learned vary' ? ['Vary', 'Accept-Language'] : []
    const named = this.#kind === 'named groups' ? ['Cache-Groups', '"named"'] : []
    return { body: String(version), headers: [...headers, ...named] }
  }

  async read(): Promise<number> {
    const { status, body } = await this.#get()
    if (status !== 200) throw new Error(`an error that the handler did not give: ${status}`)
    return Number(body)
  }

  async write(): Promise<void> {
    await this.#write()
  }

  async change(change: Change): Promise<void> {
    await this.#changes[change]?.()
  }

  async close(): Promise<void> {
    this.isIdle = true
  }
}

/** How the routes of one kind are declared, and which requests read and change. */
export interface KindOfRoute<Req> {
  readonly options: CacheOptions<Req>
  /** Of what evicts. */
  readonly evicts?: Pick<CacheEvictOptions<Req>, 'per'>
  readonly reader?: Fields
  readonly changer?: Fields
  /** The application says who asks: `x-user`, or the user of the session. */
  readonly principals?: true
  /** The router decides by `accept-version`. */
  readonly versions?: true
}

const [ANN, BOB] = [{ 'x-user': 'ann' }, { 'x-user': 'bob' }]

/** `header`: how a framework's request shows a field. */
export function kindOfRoute<Req>(
  kind: Kind,
  source: () => Source,
  header: (request: Req, name: string) => string | undefined,
): KindOfRoute<Req> {
  const base: CacheOptions<Req> = hasOwnKey(kind) ? { ...OPTIONS, key: () => ['thing'] } : OPTIONS
  const own = kind.indexOf(', with a key')
  switch (own === -1 ? kind : kind.slice(0, own)) {
    case 'declared vary':
      return { options: { ...base, vary: ['Accept-Language'] } }
    case 'per principal':
      return {
        options: { ...base, private: true, per: (request) => header(request, 'x-user') },
        reader: ANN,
        changer: BOB,
      }
    case 'per: true':
    case SESSION_KIND:
      return { options: { ...base, private: undefined, per: true }, reader: ANN, changer: BOB, principals: true }
    case 'per: true, read by nobody':
      return { options: { ...base, private: undefined, per: true }, changer: BOB, principals: true }
    case 'per: function, evicted per principal': {
      const per = async (request: Req): Promise<string | undefined> => header(request, 'x-user')
      return { options: { ...base, private: undefined, per }, evicts: { per }, reader: ANN, changer: ANN }
    }
    case 'shared: true':
      return { options: { ...OPTIONS, key: base.key, shared: true }, reader: ANN, changer: BOB, principals: true }
    case 'a version that the router decides by':
      return { options: base, reader: { 'accept-version': '1' }, changer: { 'accept-version': '2' }, versions: true }
    case 'vary by a cookie': {
      const [reader, changer] = [{ cookie: 'lang=en' }, { cookie: 'lang=de' }]
      return { options: { ...base, vary: { cookie: 'lang' } }, reader, changer }
    }
    case 'vary by a function': {
      const vary = { plan: async (request: Req) => header(request, 'x-plan') }
      return { options: { ...base, vary }, reader: { 'x-plan': 'free' }, changer: { 'x-plan': 'paid' } }
    }
    case 'when': {
      const when = (request: Req): boolean => header(request, 'x-preview') === undefined
      return { options: { ...base, when }, changer: { 'x-preview': '1' } }
    }
    case 'storeWhen':
      return { options: { ...base, storeWhen: () => !source().crossed } }
    default:
      return { options: base }
  }
}

/** What the framework and the application say about a request. */
function contextOf({ principals, versions }: KindOfRoute<Asked>, { headers }: Sent): Partial<RequestContext<Asked>> {
  return {
    // What of a request decides nothing leaves its hits to be remembered.
    onlyCondition: '',
    ...(principals && { principal: () => headers['x-user'] }),
    ...(versions && { routed: [[':version', headers['accept-version'] ?? '']], routedBy: ['accept-version'] }),
  }
}

/** A value of the data cache, or of a namespace of it. */
class DataSubject implements Participant {
  readonly #redis: Redis
  readonly #cache: Pick<Redis['cache'], 'getOrSet' | 'beginWrite' | 'set' | 'clear' | 'delete' | 'expire'>
  readonly #kind: Kind
  readonly #slot = new StoreSlot()
  isIdle = true
  #source = new Source()

  constructor(host: Host, kind: Kind) {
    this.#redis = createRedis({ store: () => this.#slot.store, logger: silentLogger })
    this.#cache = host === 'data' ? this.#redis.cache : this.#redis.cache.namespace('things')
    this.#kind = kind
  }

  enter(store: Store, source: Source): void {
    this.#slot.enter(store)
    this.isIdle = false
    this.#source = source
  }

  get scope(): CacheScope {
    return this.#redis.scope
  }

  read(): Promise<number> {
    const named = this.#kind === 'named groups'
    return this.#cache.getOrSet<number>(
      'key',
      async ({ store }) => {
        const version = await this.#source.read()
        if (named) store({ group: ['g', 'named'] })
        return version
      },
      OPTIONS,
    )
  }

  async write(): Promise<void> {
    const stamp = await this.#cache.beginWrite('key', OPTIONS)
    const version = await this.#source.write()
    const groups = this.#kind === 'named groups' ? { group: ['g', 'named'] } : {}
    await this.#cache.set('key', version, { ...OPTIONS, ...groups, ifUnchangedSince: stamp })
  }

  async change(change: Change): Promise<void> {
    if (change === 'write-through') return this.write()
    const version = await this.#source.write()
    const { cache } = this.#redis
    if (change === 'set') await this.#cache.set('key', version, OPTIONS)
    else if (change === 'clear') await this.#cache.clear()
    else if (change === 'evict path') await this.#cache.delete('key')
    else if (change === 'soft by path') await this.#cache.expire('key')
    else if (change === 'soft by group') await cache.expireGroup('g')
    else
      await cache.deleteGroup(
        change === 'evict named group' ? 'named' : change === 'evict groups' ? ['other', 'g'] : 'g',
      )
  }

  async close(): Promise<void> {
    this.isIdle = true
  }
}

const OPTIONS = { ttl: '5m', group: 'g' } as const

/** The two processes of one host and kind of entry, and the cell that they are in. */
interface Participants {
  readonly two: readonly [Participant, Participant]
  cell?: Cell
}

const participants = new Map<string, Participants>()

/** Those of a cell that did not come to its end are not used again: something of it may still be under way. */
function participantsOf(cell: Cell): Participants {
  const { host, kind } = cell
  const name = `${host} ${kind}`
  const known = participants.get(name)
  if (known !== undefined && (known.cell === cell || known.two.every(({ isIdle }) => isIdle))) return known
  const make = (): Participant => (host === 'route' ? new RouteSubject(kind) : new DataSubject(host, kind))
  const made: Participants = { two: [make(), make()] }
  participants.set(name, made)
  return made
}

let cells = 0

export const openSubject: OpenSubject = (cell, store, source) => {
  const { host, kind } = cell
  if (host === 'scope') {
    // No lease ends by itself here, and no wait does: one that is forgotten shows.
    const [leaseMs, waitMs] = [600_000, 600_000]
    const scope = new CacheScope(store, { now: Date.now, logger: silentLogger, leaseMs, waitMs })
    return new ScopeSubject(scope, kind, source)
  }
  const of = participantsOf(cell)
  // The first of a cell is the process whose run is crossed, the second the other one.
  const isFirst = of.cell !== cell
  if (isFirst) cells += 1
  of.cell = cell
  const participant = of.two[isFirst ? 0 : 1]
  participant.enter(store, source, cells)
  return participant
}
