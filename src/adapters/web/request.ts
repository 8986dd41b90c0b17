import type { Context } from 'hono'
import type { IncomingMessage } from 'node:http'
import type { RequestFields } from '../../route/request.js'
import type { HandlerRun } from '../../route/handler-run.js'
import type { RequestContext } from '../../route/request.js'
import { ASKED_OF_ALL, saysNothing } from '../node/request.js'
import { applyRequestFields, watchFields } from '../node/watch.js'

/** Longer than `http://` and `https://`: where the authority of a URL has begun. */
const AUTHORITY = 8

/** A Hono request as the cache sees it. */
export class CacheableRequest implements RequestContext<Context> {
  readonly native: Context
  readonly method: string
  readonly route: string | undefined
  readonly #raw: Request
  readonly #message: IncomingMessage | undefined
  readonly #saysNothing: boolean

  constructor(native: Context, route?: string) {
    const { raw } = native.req
    this.native = native
    this.route = route
    this.method = raw.method
    this.#raw = raw
    this.#message = untouchedMessage(native, raw)
    this.#saysNothing = this.#message !== undefined && saysNothing(this.#message.rawHeaders)
  }

  /**
   * The path as Hono has routed it, so that two requests that meet the same route with the same parameters are one, and
   * the query as it came. Where this application is mounted in another one, the path it was mounted at comes first.
   */
  get target(): string {
    const { path, url } = this.native.req
    const mark = url.indexOf('?', AUTHORITY)
    const end = url.indexOf('#', AUTHORITY)
    const query = mark === -1 ? '' : url.slice(mark, end === -1 ? undefined : end)
    const target = query === '' ? path : path + query
    const sent = messageOf(this.native)?.url
    if (sent === undefined || sent === target) return target
    return sent.startsWith('/') ? mountPath(sent, url) + target : sent
  }

  get origin(): string {
    const { url } = this.native.req
    const end = url.indexOf('/', AUTHORITY)
    return end === -1 ? url : url.slice(0, end)
  }

  header(name: string): string | undefined {
    if (this.#saysNothing && ASKED_OF_ALL.has(name)) return undefined
    if (this.#message === undefined) return this.#raw.headers.get(name) ?? undefined
    const value = this.#message.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }
}

/**
 * The message behind a request whose Headers nobody has asked for. @hono/node-server makes them then, at many times the
 * cost of all else that a hit does; until then its message says the same.
 */
function untouchedMessage(native: Context, raw: Request): IncomingMessage | undefined {
  const message = messageOf(native)
  if (message === undefined) return undefined
  const own = raw as unknown as Readonly<Record<symbol, unknown>>
  let isOfMessage = false
  for (const symbol of Object.getOwnPropertySymbols(raw)) {
    if (symbol.description === 'headersKey' && own[symbol] !== undefined) return undefined
    if (symbol.description === 'incomingKey') isOfMessage = own[symbol] === message
  }
  return isOfMessage ? message : undefined
}

/** Node's own message, where @hono/node-server has brought it. */
export function messageOf({ env }: Context): IncomingMessage | undefined {
  return (env as { incoming?: IncomingMessage } | undefined)?.incoming
}

/** What `mount` has taken away from the path that was sent: two mounted applications may have routes of the same name. */
function mountPath(sent: string, url: string): string {
  const whole = pathOf(new URL(sent, url).href)
  const routed = pathOf(url)
  if (whole.length > routed.length && whole.endsWith(routed)) return whole.slice(0, -routed.length)
  return routed === '/' && whole !== '/' ? whole : ''
}

function pathOf(url: string): string {
  const start = url.indexOf('/', AUTHORITY)
  return start === -1 ? '/' : (/^[^?#]*/.exec(url.slice(start)) as RegExpExecArray)[0]
}

/** Shows the handler the request as its run needs it; gives the way back, for what runs after the handler. */
export function present(c: Context, run: HandlerRun): () => void {
  const { raw } = c.req
  const message = messageOf(c)
  const fields = run.requestFields
  if (differs(raw.headers, fields)) {
    c.req.raw = new Request(raw, { headers: changed(raw.headers, fields) })
    if (message !== undefined) applyRequestFields(message, fields)
  }
  if (run.watched.length > 0) {
    const read = (name: string): void => run.noteRead(name)
    watchHeaders(c.req.raw.headers, run.watched, read)
    if (message !== undefined) watchFields(message.headers, run.watched, read)
  }
  const shown = c.req.raw
  return () => {
    if (c.req.raw === shown) c.req.raw = raw
  }
}

/** Usually what has to be hidden is not there. */
function differs(headers: Headers, fields: RequestFields): boolean {
  for (const [name, value] of fields) if (value !== undefined || headers.has(name)) return true
  return false
}

function changed(headers: Headers, fields: RequestFields): Headers {
  const own = new Headers(headers)
  for (const [name, value] of fields) {
    if (value === undefined) own.delete(name)
    else own.set(name, value)
  }
  return own
}

const WHOLE = ['forEach', 'entries', 'keys', 'values', Symbol.iterator] as const

/** Tells when one of these fields is asked for, by its name or with all others. */
function watchHeaders(headers: Headers, names: readonly string[], read: (name: string) => void): void {
  const methods = headers as unknown as Record<string | symbol, (...args: unknown[]) => unknown>
  for (const method of ['get', 'has'] as const) {
    const original = headers[method].bind(headers) as (name: unknown) => unknown
    methods[method] = (name) => {
      const lower = String(name).toLowerCase()
      if (names.includes(lower)) read(lower)
      return original(name)
    }
  }
  for (const method of WHOLE) {
    const original = (headers[method] as (...args: unknown[]) => unknown).bind(headers)
    methods[method] = (...args) => {
      for (const name of names) read(name)
      return original(...args)
    }
  }
}
