import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Redis } from '../create-redis.js'
import { OptionsError, unknownOptions, UsageError } from '../errors.js'
import { CHANGES, problemOf, READS } from './api.js'
import { assets } from './assets.js'
import { eventStream, Feed } from './feed.js'
import { type ParsedMessage, send, toRequest } from './node.js'
import { changeProblem, crossSiteProblem, HEADERS } from './security.js'

/**
 * - `true`: may look and change
 * - `'read'`: may look
 * - `false`: neither; answered with 403
 * - a `Response`: answered with that, such as a redirection to a page where one signs in
 */
export type GuardVerdict = boolean | 'read' | Response

/** Options of `dashboard`. `Native` is the framework's request. */
export interface DashboardOptions<Native = unknown> {
  /**
   * Decides who may view and who may change; called for every request. `native` is the framework's request (Fastify,
   * Express, Nest), or the argument of `fetch`. An error is a 403.
   */
  readonly guard: (request: Request, native: Native) => GuardVerdict | Promise<GuardVerdict>
}

const OPTIONS: Readonly<Record<keyof DashboardOptions, true>> = { guard: true }

/** What is used of a Fastify instance, so that its types are not needed. */
interface FastifyLike {
  readonly prefix: string
  all(path: string, handler: (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown>): unknown
  addHook(name: 'preClose', hook: (done: () => void) => void): unknown
}

interface FastifyRequestLike {
  readonly raw: IncomingMessage
  readonly body: unknown
}

interface FastifyReplyLike {
  readonly raw: ServerResponse
  hijack(): unknown
}

/** The operator's page of one application, to be mounted under any path. */
export class Dashboard<Native = unknown> {
  readonly #redis: Redis
  readonly #guard: DashboardOptions<Native>['guard']
  readonly #feed: Feed

  /** @internal Use `dashboard`. */
  constructor(redis: Redis, { guard }: DashboardOptions<Native>) {
    this.#redis = redis
    this.#guard = guard
    this.#feed = new Feed(redis)
  }

  /**
   * Answers a request below the mount path, for Hono and everything that speaks `Request` and `Response`.
   *
   * @example
   * app.all('/ops/*', (c) => panel.fetch(c.req.raw, c))
   */
  readonly fetch = (request: Request, native?: Native): Promise<Response> => this.#respond(request, native as Native)

  /** `inside`: the path below the mount path, where the framework tells. */
  async #respond(request: Request, native: Native, inside?: string): Promise<Response> {
    try {
      return await this.#answer(request, native, inside)
    } catch (error) {
      const { status, problem } = problemOf(error)
      if (status === 500) this.#redis.logger.error(`redwell: the dashboard failed: ${String(error)}`)
      return json({ problem }, status)
    }
  }

  /**
   * Answers a request below the mount path, for Express, NestJS and `node:http`.
   *
   * @example
   * app.use('/ops', panel.node)
   */
  readonly node = (req: IncomingMessage, res: ServerResponse): void => {
    const parsed = req as ParsedMessage
    const isMounted = parsed.originalUrl !== undefined && parsed.originalUrl !== req.url
    void this.#serve(req, res, parsed, req as never, isMounted ? req.url : undefined)
  }

  /**
   * A plugin for Fastify, whose `prefix` is the mount path.
   *
   * @example
   * await app.register(panel.fastify, { prefix: '/ops' })
   */
  readonly fastify = async (app: FastifyLike): Promise<void> => {
    app.addHook('preClose', (done) => {
      this.close()
      done()
    })
    const handle = async (request: FastifyRequestLike, reply: FastifyReplyLike): Promise<void> => {
      reply.hijack()
      const parsed = { originalUrl: request.raw.url, body: request.body }
      const url = request.raw.url ?? ''
      const inside = url.startsWith(app.prefix) ? url.slice(app.prefix.length) : undefined
      await this.#serve(request.raw, reply.raw, parsed, request as Native, inside)
    }
    app.all('/', handle)
    app.all('/*', handle)
  }

  /**
   * Ends the event streams of all open pages, so that the server can close. Fastify's `close` calls it.
   */
  close(): void {
    this.#feed.close()
  }

  /** Number of open pages. While there are none, the dashboard does nothing. */
  get viewers(): number {
    return this.#feed.size
  }

  async #serve(
    req: IncomingMessage,
    res: ServerResponse,
    parsed: ParsedMessage,
    native: Native,
    inside: string | undefined,
  ): Promise<void> {
    const request = await toRequest(req, parsed).catch((error: unknown) =>
      error instanceof UsageError ? error.message : 'The request could not be read.',
    )
    const response =
      typeof request === 'string'
        ? json({ problem: request }, 400)
        : await this.#respond(request, native, inside?.replace(/\?.*/s, ''))
    await send(res, response)
  }

  async #answer(request: Request, native: Native, inside: string | undefined): Promise<Response> {
    const verdict = await this.#verdictOf(request, native)
    if (verdict instanceof Response) return verdict
    const path = new URL(request.url).pathname
    // By its end, whatever the mount path before it is.
    const [, folder = '', file = ''] = /\/(api\/)?([^/]*)$/.exec(path) ?? []
    if (folder !== '' && isQuestion(request, file, inside)) return this.#answerApi(request, file, verdict)
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return json({ problem: 'Only GET is allowed.' }, 405, { allow: 'GET, HEAD' })
    const name = file === '' ? 'index.html' : file
    const asset = Object.hasOwn(assets, name) ? assets[name] : undefined
    const isElsewhere = (file === '' || asset === undefined) && !isMount(inside ?? '')
    if (isElsewhere || (asset === undefined && file.includes('.'))) return json({ problem: 'Not found.' }, 404)
    if (asset === undefined) return withSlash()
    const fields = { ...HEADERS, 'content-type': asset.type, 'cache-control': 'no-cache', etag: asset.etag }
    if (request.headers.get('if-none-match') === asset.etag) return new Response(null, { status: 304, headers: fields })
    return new Response(asset.text, { headers: fields })
  }

  async #verdictOf(request: Request, native: Native): Promise<'read' | 'write' | Response> {
    let verdict: unknown = false
    try {
      verdict = await this.#guard(request, native)
    } catch (error) {
      this.#redis.logger.warn(
        `redwell: the guard of the dashboard failed, so the request was refused: ${String(error)}`,
      )
    }
    if (verdict instanceof Response) return verdict
    if (verdict === true) return 'write'
    return verdict === 'read' ? 'read' : json({ problem: 'The guard of the dashboard refuses this request.' }, 403)
  }

  async #answerApi(request: Request, name: string, verdict: 'read' | 'write'): Promise<Response> {
    if (request.method === 'POST') return this.#change(request, name, verdict)
    const problem = crossSiteProblem(request)
    if (problem !== undefined) return json({ problem }, 403)
    if (request.method !== 'GET') return json({ problem: 'Only GET and POST.' }, 405, { allow: 'GET, POST' })
    if (name === 'live') {
      if (this.#feed.isFull) return json({ problem: 'Too many pages are open.' }, 503)
      return eventStream(this.#feed, HEADERS)
    }
    const read = Object.hasOwn(READS, name) ? READS[name] : undefined
    const found = read === undefined ? undefined : await read(this.#redis, new URL(request.url).searchParams)
    if (found === undefined) return json({ problem: 'Not found.' }, 404)
    return json(name === 'about' ? { ...found, mayChange: verdict === 'write' } : found)
  }

  async #change(request: Request, name: string, verdict: 'read' | 'write'): Promise<Response> {
    const problem = changeProblem(request)
    if (problem !== undefined) return json({ problem }, 403)
    if (verdict !== 'write') return json({ problem: 'You may look, and not change.' }, 403)
    const change = Object.hasOwn(CHANGES, name) ? CHANGES[name] : undefined
    if (change === undefined) return json({ problem: 'Not found.' }, 404)
    const content: unknown = await request.json().catch(() => undefined)
    if (typeof content !== 'object' || content === null)
      return json({ problem: 'The content must be a JSON object.' }, 400)
    const done = await change(this.#redis, content as Readonly<Record<string, unknown>>)
    this.#redis.logger.info(
      `redwell: an operator changed something on the dashboard: ${name} ${JSON.stringify(content)}`,
    )
    return json(done)
  }
}

/** Whether what is asked for below `api/` is data: a mount path may end in `/api/<name>` as well. */
function isQuestion(request: Request, name: string, inside: string | undefined): boolean {
  // Names of files have a dot.
  if (name === '' || name.includes('.')) return false
  if (inside !== undefined) return !isMount(inside)
  if (request.method !== 'GET' && request.method !== 'HEAD') return true
  const isKnown = name === 'live' || Object.hasOwn(READS, name) || Object.hasOwn(CHANGES, name)
  return isKnown && !isOpened(request)
}

/** Whether a person opens an address; the page's own questions are no navigations. */
function isOpened({ headers }: Request): boolean {
  return headers.get('sec-fetch-mode') === 'navigate' || headers.get('accept')?.includes('text/html') === true
}

/** Whether a path below the mount path is the mount path itself. */
function isMount(inside: string): boolean {
  return /^\/*$/.test(inside)
}

function json(value: unknown, status = 200, more: Readonly<Record<string, string>> = {}): Response {
  const headers = { ...HEADERS, 'content-type': 'application/json; charset=utf-8', ...more }
  return new Response(JSON.stringify(value), { status, headers })
}

const ADD_SLASH = "location.replace(location.pathname + '/' + location.search + location.hash)"

/**
 * Relative addresses of the page need the slash at the end of the mount path. Only the browser knows that path where a
 * proxy has renamed it, so no `Location` can be right.
 */
function withSlash(): Response {
  const digest = createHash('sha256').update(ADD_SLASH).digest('base64')
  const policy = `default-src 'none'; script-src 'sha256-${digest}'; base-uri 'none'; frame-ancestors 'none'`
  const headers = { ...HEADERS, 'content-security-policy': policy, 'content-type': 'text/html; charset=utf-8' }
  const text = `<!doctype html><title>redwell</title><script>${ADD_SLASH}</script><p>The address needs a / at its end.`
  return new Response(text, { headers })
}

/**
 * The operator's page: hit ratio, latency, reasons, entries, groups, rate limits, sessions and the health of Redis,
 * live across all processes. Throws OptionsError without a handle or a guard.
 *
 * @example
 * const panel = dashboard(app.redis, { guard: (request, native: FastifyRequest) => native.user?.role === 'operator' })
 * await app.register(panel.fastify, { prefix: '/ops' })
 */
export function dashboard<Native = unknown>(redis: Redis, options: DashboardOptions<Native>): Dashboard<Native> {
  const given: Partial<DashboardOptions<Native>> | undefined = options
  const problems = unknownOptions(given ?? {}, Object.keys(OPTIONS))
  if ((redis as Partial<Redis> | undefined)?.settings === undefined)
    problems.push('redis: the dashboard needs the handle of createRedis(), such as app.redis of Fastify')
  if (typeof given?.guard !== 'function')
    problems.push('guard: the dashboard needs a function that says who may use it; write { guard: (request) => … }')
  if (problems.length > 0) throw new OptionsError('options of the dashboard', problems)
  return new Dashboard(redis, options)
}
