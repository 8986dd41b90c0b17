import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRedis, type Redis } from '../../../src/index.js'
import type { Store } from '../../../src/store/store.js'
import {
  type Cell,
  cellsOf,
  type Change,
  failures,
  type Kind,
  KINDS,
  type OpenSubject,
  type Place,
  rowsOf,
  SESSION_KIND,
  Source,
  type Subject,
} from '../../consistency/crossings.js'
import { inMemory } from '../../consistency/crossing-stores.js'
import { type KindOfRoute, kindOfRoute } from '../../consistency/crossing-subjects.js'
import { StoreSlot } from '../../support/controlled-store.js'
import { silentLogger } from '../../support/logger.js'
import { Client } from '../client.js'
import type { Answer, Call, Host, HostedApp, Route } from '../host.js'

/**
 * The cells of the routes (test/consistency/crossings.ts) through a framework and its sockets. A host is started twice
 * for each kind of entry; each cell has a store and a path of its own.
 */
export function crossings(host: Host): void {
  const kinds: readonly Kind[] = host.traits.sessions ? [...KINDS, SESSION_KIND] : KINDS
  describe.each(kinds)(`${host.name}, %s: what changes while a handler runs`, (kind) => {
    const pair = new Pair(host, kind)

    beforeAll(() => pair.start())
    afterAll(() => pair.close())

    test.each(changesOf(kind))('%s', async (change) => {
      const cells = cellsOf('route', kind, change, 'none').filter(isKept)
      expect(cells.length).toBeGreaterThan(0)
      expect(await failures(cells, pair.place(inMemory()), pair.open)).toEqual([])
    })
  })
}

/** A route has one method for each way to change its path, which leaves none for a soft eviction. */
export function changesOf(kind: Kind): readonly Change[] {
  return rowsOf('route', [kind]).flatMap(([own, change]) => (own === kind && change !== 'soft by path' ? [change] : []))
}

/** The whole matrix runs in test/consistency; a framework matters where its handler or its response stands still. */
function isKept({ moment: [at, when], by, groups }: Cell): boolean {
  const isHost = at === 'handler' || (when === 'before' && ['acquireLease', 'publish', 'commitWrite'].includes(at))
  return isHost && by === 'other' && groups === 'warm'
}

/** Two processes with one application each. */
export class Pair {
  readonly #processes: readonly [Process, Process]
  #cell = 0

  constructor(host: Host, kind: Kind) {
    this.#processes = [new Process(host, kind), new Process(host, kind)]
  }

  async start(): Promise<void> {
    for (const process of this.#processes) await process.start()
  }

  async close(): Promise<void> {
    for (const process of this.#processes) await process.close()
  }

  /** Where requests have to come through a socket before they can wait for the store. */
  place(place: Place): Place {
    const open = (): ReturnType<Place['open']> => {
      this.#cell += 1
      return place.open()
    }
    const turn = async (): Promise<void> => {
      while (this.#processes.some(({ sent, arrived }) => arrived < sent)) await nextTurn()
      await place.turn()
      await nextTurn()
    }
    return { ...place, open, turn }
  }

  /** The first of a cell is for the process whose run is crossed, the second for the other one. */
  readonly open: OpenSubject = (_, store, source) => {
    const [one, two] = this.#processes
    const process = one.cell === this.#cell ? two : one
    process.cell = this.#cell
    process.enter(store, source)
    return new HostSubject(process, `/c/${this.#cell}`)
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

const ANSWERED = { text: 'ok' }

/** One application of the host, whose store and source are those of the cell. */
class Process {
  readonly redis: Redis
  readonly #host: Host
  readonly #kind: Kind
  readonly #route: KindOfRoute<Call>
  /** Cookies of those who are signed in. */
  readonly #cookies = new Map<string, string>()
  cell = 0
  sent = 0
  arrived = 0
  readonly #slot = new StoreSlot()
  #source = new Source()
  #app: HostedApp | undefined

  constructor(host: Host, kind: Kind) {
    this.#host = host
    this.#kind = kind
    this.#route = kindOfRoute<Call>(
      kind,
      () => this.#source,
      (call, name) => call.header(name),
    )
    this.redis = createRedis({ store: () => this.#slot.store, logger: silentLogger })
  }

  enter(store: Store, source: Source): void {
    this.#slot.enter(store)
    this.#source = source
  }

  get source(): Source {
    return this.#source
  }

  async start(): Promise<void> {
    this.enter(inMemory().open()[0], this.#source)
    const byField = this.#route.principals === true && !this.#isOfSessions
    this.#app = await this.#host.start({
      redis: this.redis,
      routes: this.#routes(),
      ...(this.#isOfSessions && { sessions: {} }),
      ...(byField && { principal: (call: Call) => call.header('x-user') }),
    })
    if (this.#isOfSessions) for (const user of ['ann', 'bob']) await this.#login(user)
  }

  get #isOfSessions(): boolean {
    return this.#kind === SESSION_KIND
  }

  async #login(user: string): Promise<void> {
    const client = new Client(this.#app?.port ?? 0, this.#app?.protocol)
    const { lines } = await client.ask('/login', { method: 'POST', headers: { 'x-user': user } })
    const line = lines.find(([name]) => name === 'set-cookie')?.[1]
    if (line === undefined) throw new Error('no session was begun')
    this.#cookies.set(user, line.slice(0, line.indexOf(';')))
  }

  /** The fields of the request that reads, or of one that changes. */
  #fieldsOf(who: 'reader' | 'changer'): Readonly<Record<string, string>> {
    const fields = this.#route[who] ?? {}
    const cookie = this.#isOfSessions ? this.#cookies.get(fields['x-user'] ?? '') : undefined
    return cookie === undefined ? fields : { cookie }
  }

  async close(): Promise<void> {
    await this.#app?.close()
    await this.redis.close()
  }

  async ask(
    method: Route['method'],
    path: string,
    who: 'reader' | 'changer',
    more: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const headers = { ...this.#fieldsOf(who), ...more }
    this.sent += 1
    const client = new Client(this.#app?.port ?? 0, this.#app?.protocol)
    const { status, text } = await client.ask(path, { method, headers: { 'accept-language': 'en', ...headers } })
    if (status !== 200) throw new Error(`an error that the handler did not give: ${status} ${text}`)
    return text
  }

  #routes(): Route[] {
    const { options, evicts } = this.#route
    const guard = (): undefined => void (this.arrived += 1)
    const route = (method: Route['method'], words: Partial<Route>, path = '/c/:cell'): Route => ({
      method,
      path,
      guard,
      handler: async (call) => this.#answer(call, await this.#source.write()),
      ...words,
    })
    const evict = (name: string, cacheEvict: NonNullable<Route['cacheEvict']>): Route =>
      route('POST', { cacheEvict, handler: async () => (await this.#source.write(), ANSWERED) }, `/evict/${name}`)
    const login = (call: Call): string => {
      const data = call.session.data as Record<string, unknown>
      data['userId'] = call.header('x-user')
      return 'in'
    }
    return [
      route('GET', { cache: options, handler: async (call) => this.#answer(call, await this.#source.read()) }),
      route('PUT', { cachePut: options }),
      route('PATCH', { cachePut: options, cacheEvict: { group: 'g' } }),
      route('DELETE', { cacheEvict: { ...evicts, key: 'path' } }),
      route('POST', {}),
      ...(this.#isOfSessions ? [{ method: 'POST', path: '/login', handler: login } as const] : []),
      evict('group', { group: 'g' }),
      evict('groups', { group: ['other', 'g'] }),
      evict('named', { group: 'named' }),
      evict('soft', { group: 'g', mode: 'soft' }),
    ]
  }

  #answer(call: Call, version: number): Answer {
    if (this.#kind === 'named groups') call.cacheGroups('named')
    const varies = this.#kind === 'learned vary' ? [['Vary', 'Accept-Language'] as const] : []
    const refuses = call.header('x-refuse') === undefined ? [] : [['Cache-Control', 'no-store'] as const]
    return { text: String(version), headers: [...varies, ...refuses] }
  }
}

class HostSubject implements Subject {
  readonly #process: Process
  readonly #path: string
  readonly #changes: Partial<Record<Change, () => Promise<unknown>>>

  constructor(process: Process, path: string) {
    this.#process = process
    this.#path = path
    const { cache } = process.redis
    const changed = (): Promise<number> => process.source.write()
    this.#changes = {
      'evict path': () => process.ask('DELETE', path, 'changer'),
      'delete path': () => changed().then(() => cache.deletePath(path)),
      automatic: () => process.ask('POST', path, 'changer'),
      'evict group': () => process.ask('POST', '/evict/group', 'changer'),
      'evict groups': () => process.ask('POST', '/evict/groups', 'changer'),
      'evict named group': () => process.ask('POST', '/evict/named', 'changer'),
      'soft by group': () => process.ask('POST', '/evict/soft', 'changer'),
      'write-through': () => process.ask('PUT', path, 'changer'),
      'write-through with its own group': () => process.ask('PATCH', path, 'changer'),
      'write that stores nothing': () => process.ask('PUT', path, 'changer', { 'x-refuse': '1' }),
      clear: () => changed().then(() => cache.clear()),
    }
  }

  get scope(): Redis['scope'] {
    return this.#process.redis.scope
  }

  async read(): Promise<number> {
    return Number(await this.#process.ask('GET', this.#path, 'reader'))
  }

  async write(): Promise<void> {
    await this.#process.ask('PUT', this.#path, 'reader')
  }

  async change(change: Change): Promise<void> {
    await this.#changes[change]?.()
  }

  async close(): Promise<void> {}
}
