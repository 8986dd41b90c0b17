import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import redwell from '../../src/adapters/fastify/index.js'
import type { RedisSettings } from '../../src/redis/settings.js'
import { recordingLogger } from '../support/logger.js'

const READERS = 4
/** A request takes a few milliseconds without a fault. Longer than this it hangs, on however busy a machine. */
const HANG_MS = 5000

/** What a test asks of a run, once it is over. */
export interface Findings {
  reads: number
  writes: number
  hits: number
  /** Answers older than a write that had been confirmed before the request began. */
  stale: number
  /** Answers that were none, or for another item, or of a version that nobody wrote. */
  wrong: number
  slowestMs: number
}

/** What the cache added to a request, beside its handler. */
export interface Timing {
  readonly addedMs: number
  readonly endedAt: number
  readonly cache: unknown
}

/** The source of truth, and what every process, or only the one that wrote, must see by now. */
class Truth {
  readonly #versions = new Map<string, number>()
  readonly #everywhere = new Map<string, number>()

  current(item: string): number {
    return this.#versions.get(item) ?? 0
  }

  commit(item: string): number {
    const version = this.current(item) + 1
    this.#versions.set(item, version)
    return version
  }

  confirmed(item: string, version: number): void {
    raise(this.#everywhere, item, version)
  }

  atLeast(item: string, own: ReadonlyMap<string, number>): number {
    return Math.max(own.get(item) ?? 0, this.#everywhere.get(item) ?? 0)
  }
}

function raise(map: Map<string, number>, item: string, version: number): void {
  map.set(item, Math.max(map.get(item) ?? 0, version))
}

/** Registers what a test leaves behind: of a concurrent test, its own context's. */
export type AtEnd = (cleanup: () => Promise<void>) => void

interface Answer {
  readonly item: string
  readonly version: number
  /** How long the handler took that made it. */
  readonly tookMs: number
}

type Settings = RedisSettings & { prefix: string }

/** One process of a service, as far as a cache can tell: an application with a connection of its own. */
class Service {
  readonly app: FastifyInstance
  readonly lines: readonly string[]
  /** What was written through this one: it must see that whether or not Redis could be told. */
  readonly own = new Map<string, number>()

  constructor(app: FastifyInstance, lines: readonly string[]) {
    this.app = app
    this.lines = lines
  }

  static async start(truth: Truth, options: Settings, atEnd: AtEnd): Promise<Service> {
    const logger = recordingLogger()
    const app = Fastify()
    atEnd(() => app.close())
    await app.register(redwell, { logger, ...options })
    app.get<{ Params: { item: string } }>(
      '/:item',
      { config: { cache: { ttl: 60, group: (request) => [`of-${(request.params as { item: string }).item}`] } } },
      async ({ params }) => {
        const began = performance.now()
        await delay(Math.random() * 2)
        const version = truth.current(params.item)
        await delay(Math.random() * 4)
        return { item: params.item, version, tookMs: performance.now() - began }
      },
    )
    app.put<{ Params: { item: string } }>('/:item', async ({ params }) => {
      const version = truth.commit(params.item)
      const { confirmed } = await app.cache.deleteGroup(`of-${params.item}`)
      return { version, confirmed }
    })
    await app.ready()
    return new Service(app, logger.lines)
  }
}

/** Readers and writers of a few items over two services, which go on whatever happens to Redis. */
export class Traffic {
  readonly services: readonly Service[]
  readonly findings: Findings = { reads: 0, writes: 0, hits: 0, stale: 0, wrong: 0, slowestMs: 0 }
  /** Told of each read, where somebody measures. */
  onRead: ((timing: Timing) => void) | undefined
  readonly #truth: Truth
  /** Whether two primaries may answer, each a part of the services: a write through one is then not known to the other. */
  split = false
  readonly #waiting: { at: number; resolve: () => void }[] = []
  #running = true
  #ended: Promise<unknown> = Promise.resolve()

  readonly #items: number

  private constructor(services: readonly Service[], truth: Truth, items: number) {
    this.services = services
    this.#items = items
    this.#truth = truth
  }

  /** Begins once both are connected. */
  static async start(options: RedisSettings | (() => RedisSettings), atEnd: AtEnd, items = 8): Promise<Traffic> {
    const truth = new Truth()
    const prefix = `fault:${randomUUID()}`
    const settings = () => ({ ...(typeof options === 'function' ? options() : options), prefix })
    const services = [await Service.start(truth, settings(), atEnd), await Service.start(truth, settings(), atEnd)]
    await Promise.all(services.map(({ app }) => app.redis.connect()))
    const traffic = new Traffic(services, truth, items)
    traffic.#begin()
    atEnd(async () => void (await traffic.stop()))
    return traffic
  }

  /** Resolves when this many more requests have been answered. */
  more(count: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ at: this.findings.reads + count, resolve }))
  }

  /** Resolves when requests are answered from the cache again. */
  async cached(): Promise<void> {
    const before = this.findings.hits
    while (this.findings.hits < before + 50) await this.more(20)
  }

  /** Resolves when every service talks to the server of this port. */
  async on(port: number): Promise<void> {
    const isThere = async ({ app }: Service): Promise<boolean> =>
      (await app.redis.client.info('server').catch(() => '')).includes(`tcp_port:${port}\r`)
    while (!(await Promise.all(this.services.map(isThere))).every(Boolean)) await this.more(5)
  }

  async stop(): Promise<Findings> {
    this.#running = false
    await this.#ended
    return this.findings
  }

  #begin(): void {
    const loops = this.services.flatMap((service) => [
      ...Array.from({ length: READERS }, () => this.#loop(() => this.#read(service), 3)),
      this.#loop(() => this.#write(service), 20),
    ])
    this.#ended = Promise.all(loops)
  }

  async #loop(turn: () => Promise<void>, pauseMs: number): Promise<void> {
    while (this.#running) {
      await turn()
      await delay(Math.random() * pauseMs)
    }
  }

  async #read({ app, own }: Service): Promise<void> {
    const item = pick(this.#items)
    const atLeast = this.split ? (own.get(item) ?? 0) : this.#truth.atLeast(item, own)
    const began = performance.now()
    const answer = await app.inject(`/${item}`)
    const { item: answered, version, tookMs = 0 } = answer.statusCode === 200 ? answer.json<Answer>() : {}
    const { findings } = this
    const endedAt = performance.now()
    const cache = answer.headers['x-redis-cache']
    findings.reads += 1
    findings.slowestMs = Math.max(findings.slowestMs, endedAt - began)
    if (cache === 'HIT') findings.hits += 1
    const addedMs = endedAt - began - (cache === 'HIT' ? 0 : tookMs)
    this.onRead?.({ addedMs, endedAt, cache })
    if (answered !== item || version === undefined || version > this.#truth.current(item)) findings.wrong += 1
    else if (version < atLeast) findings.stale += 1
    for (const waiting of this.#waiting.filter(({ at }) => at <= findings.reads)) {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
      waiting.resolve()
    }
  }

  async #write({ app, own }: Service): Promise<void> {
    const item = pick(this.#items)
    const wasSplit = this.split
    const began = performance.now()
    const answer = await app.inject({ method: 'PUT', url: `/${item}` })
    this.findings.writes += 1
    this.findings.slowestMs = Math.max(this.findings.slowestMs, performance.now() - began)
    if (answer.statusCode !== 200) {
      this.findings.wrong += 1
      return
    }
    const { version, confirmed } = answer.json<{ version: number; confirmed: boolean }>()
    // Of two primaries, one is about to lose what it has confirmed.
    if (wasSplit || this.split) return
    raise(own, item, version)
    if (confirmed) this.#truth.confirmed(item, version)
  }
}

function pick(items: number): string {
  return `item-${Math.floor(Math.random() * items)}`
}

/** Nothing failed, nothing hung, nothing was old: what has to hold whatever happened to Redis. */
export function problemsIn(findings: Findings): readonly string[] {
  return [
    ...(findings.wrong > 0 ? [`${findings.wrong} of ${findings.reads} answers were wrong`] : []),
    ...(findings.stale > 0 ? [`${findings.stale} of ${findings.reads} answers were stale`] : []),
    ...(findings.slowestMs > HANG_MS ? [`an answer took ${Math.round(findings.slowestMs)} ms`] : []),
  ]
}
