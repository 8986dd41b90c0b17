import { randomUUID } from 'node:crypto'
import type { HeaderList, OutgoingResponse } from '../../src/http/index.js'
import { createRedis, type Redis, type RedisOptions } from '../../src/create-redis.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../../src/route/options.js'
import type { BackgroundRun, RequestContext } from '../../src/route/request.js'
import type { CachedRoute } from '../../src/route/cached-route.js'
import type { WriteRoute } from '../../src/route/write-session.js'
import { routesOf } from '../../src/adapters/declarations.js'
import { recordingLogger } from '../support/logger.js'

export interface Asked {
  readonly method: string
  readonly target: string
  /** As the handler sees them. */
  readonly headers: Readonly<Record<string, string>>
  /** Reads a field as a handler does that looks at credentials. */
  read(name: string): string | undefined
}

export interface Answer {
  readonly status?: number
  readonly headers?: HeaderList
  readonly body?: string
}

export type Handler = (request: Asked) => Answer | Promise<Answer>

export interface Reply {
  readonly status: number
  readonly body: string
  readonly headers: HeaderList
  /** X-Redis-Cache. */
  readonly cache: string | undefined
  field(name: string): string | undefined
}

const ORIGIN = 'https://shop.example'

/** An adapter to no framework: what routes do, without a server. */
export class Application {
  readonly redis: Redis
  readonly warnings: readonly string[]
  now = Date.parse('2026-01-01T00:00:00Z')
  /** Whether handlers can run again in the background. */
  dispatches = false

  readonly #more: (sent: Sent) => Partial<RequestContext<Asked>>

  /** `more`: what the framework and the application say about a request. */
  constructor(
    where: RedisOptions,
    options: Pick<RedisOptions, 'defaults'> = {},
    more: (sent: Sent) => Partial<RequestContext<Asked>> = () => ({}),
  ) {
    this.#more = more
    const logger = recordingLogger()
    this.warnings = logger.lines
    this.redis = createRedis({
      prefix: `test:${randomUUID()}`,
      ...where,
      ...options,
      logger,
      now: () => this.now,
    })
  }

  get(
    options: CacheOptions<Asked>,
    handler: Handler,
    template = '/',
  ): (target?: string, headers?: Fields, method?: string) => Promise<Reply> {
    const cache = this.route(options, template)
    return (target = '/', headers = {}, method = 'GET') =>
      this.#serve(cache, { method, target, headers }, handler, this.dispatches)
  }

  /** The cache of a route, for what `get` does not do. */
  route(options: CacheOptions<Asked>, template = '/'): CachedRoute<Asked> {
    const traits = { path: {}, stripsHead: true }
    return routesOf(this.redis).cache<Asked>(`GET ${template}`, { where: 'cache', options }, traits)
  }

  /** A route with both words. */
  rewrite(
    put: CachePutOptions<Asked>,
    evict: CacheEvictOptions<Asked>,
    handler: Handler,
  ): (target?: string, groups?: readonly string[], headers?: Fields) => Promise<Reply> {
    const [where, options] = ['write', put]
    const write = routesOf(this.redis).write<Asked>({ where, options }, { where, options: evict }, { path: {} })
    return (target = '/', groups = [], headers = {}) =>
      this.#serveWrite(write, { method: 'PUT', target, headers }, handler, groups)
  }

  put(options: CachePutOptions<Asked>, handler: Handler): (target?: string, headers?: Fields) => Promise<Reply> {
    const write = routesOf(this.redis).write<Asked>({ where: 'cachePut', options }, undefined, { path: {} })
    return (target = '/', headers = {}) => this.#serveWrite(write, { method: 'PUT', target, headers }, handler)
  }

  evict(options: CacheEvictOptions<Asked>, handler: Handler): (target?: string, headers?: Fields) => Promise<Reply> {
    const write = routesOf(this.redis).write<Asked>(undefined, { where: 'cacheEvict', options }, { path: {} })
    return (target = '/', headers = {}) => this.#serveWrite(write, { method: 'DELETE', target, headers }, handler)
  }

  /** A route that says nothing about caching. */
  plain(handler: Handler): (method: string, target?: string, headers?: Fields) => Promise<Reply> {
    const { unsafe } = routesOf(this.redis)
    return (method, target = '/', headers = {}) => this.#serveWrite(unsafe, { method, target, headers }, handler)
  }

  async #serve(
    cache: CachedRoute<Asked>,
    sent: Sent,
    handler: Handler,
    dispatches: boolean,
    background?: BackgroundRun,
  ): Promise<Reply> {
    const dispatch = (run: BackgroundRun): Promise<Reply> => {
      const headers = Object.fromEntries(run.keyedFields)
      return this.#serve(cache, { method: 'GET', target: sent.target, headers }, handler, false, run)
    }
    const lookup = await cache.lookup({
      ...present(sent, this.#more(sent)),
      ...(background && { background }),
      ...(dispatches && { dispatch }),
    })
    if (lookup.outcome === 'hit') return reply(lookup.response)
    const { run } = lookup
    const headers: Record<string, string> = { ...sent.headers }
    for (const [name, value] of run.requestFields) {
      if (value === undefined) delete headers[name]
      else headers[name] = value
    }
    const watched = (name: string) => {
      if (run.watched.includes(name)) run.noteRead(name, name)
    }
    try {
      const answer = await handler(asked({ ...sent, headers }, watched))
      const head = { status: answer.status ?? 200, headers: answer.headers ?? [] }
      const outgoing = await run.finish(head, Buffer.from(answer.body ?? ''))
      await cache.settled()
      return reply(outgoing)
    } catch (error) {
      const instead = run.fail()
      if (instead === undefined) throw error
      return reply(instead)
    }
  }

  async #serveWrite(
    write: WriteRoute<Asked> | WriteRoute<unknown>,
    sent: Sent,
    handler: Handler,
    groups: readonly string[] = [],
  ): Promise<Reply> {
    const run = await write.begin(present(sent, this.#more(sent)))
    run.addGroups(groups)
    const watched = (name: string) => {
      if (run.watched.includes(name)) run.noteRead(name, name)
    }
    const { status = 200, headers = [], body = '' } = await handler(asked(sent, watched))
    const shown = await run.finish({ status, headers }, Buffer.from(body))
    return reply({ status, headers: shown, body: Buffer.from(body) })
  }
}

export type Fields = Readonly<Record<string, string>>

export interface Sent {
  readonly method: string
  readonly target: string
  readonly headers: Fields
}

function asked({ method, target, headers }: Sent, read: (name: string) => void = () => {}): Asked {
  return {
    method,
    target,
    headers,
    read(name) {
      read(name)
      return headers[name]
    },
  }
}

export function present(sent: Sent, more: Partial<RequestContext<Asked>> = {}): RequestContext<Asked> {
  return {
    method: sent.method,
    target: sent.target,
    origin: ORIGIN,
    native: asked(sent),
    header: (name) => (name === 'host' ? (sent.headers['host'] ?? 'shop.example') : sent.headers[name]),
    ...more,
  }
}

function reply({ status, headers, body }: Omit<OutgoingResponse, 'version'>): Reply {
  const field = (name: string): string | undefined => {
    const index = headers.findIndex((text, at) => at % 2 === 0 && text.toLowerCase() === name)
    return index === -1 ? undefined : headers[index + 1]
  }
  return { status, headers, body: body === null ? '' : body.toString(), cache: field('x-redis-cache'), field }
}
