import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { BackgroundRun } from '../../route/request.js'
import { type AdaptedRequest, backgroundRunOf, type Presented, sendForRun } from '../exchange.js'
import { hasJudgedFields, isJudged } from '../node/request.js'
import { ReadWatch, setFieldProperty, showFields, watchMessage } from '../node/watch.js'

/** Where the authority of a URL has begun: after `http://` or `https://`. */
const AUTHORITY = 8

/** What answers requests, such as `app.fetch`. */
export type Dispatch = (request: Request) => Response | Promise<Response>

export interface WebRequestOptions<Native> {
  /** The framework's own request or context, for the functions of the options. */
  readonly native: Native
  readonly request: Request
  /** The path as the router took it. Default: that of the URL. */
  readonly path?: string | undefined
  /** Method and template of its route. */
  readonly route?: string | undefined
  /** The message of `node:http` behind the request, where there is one. */
  readonly message?: IncomingMessage | undefined
  /** The application that requests enter by. Without it nothing is refreshed in the background. */
  readonly application?: Dispatch | undefined
}

/** Requests as they were sent, by those that a handler saw in their place. */
const originals = new WeakMap<Request, Request>()

/** A web `Request` as the cache sees it. */
export class WebRequest<Native> implements AdaptedRequest<Native> {
  readonly native: Native
  readonly message: Request
  readonly method: string
  readonly route: string | undefined
  readonly dispatch?: (run: BackgroundRun) => Promise<void>
  /** The request as the handler is to see it. */
  shown: Request
  readonly #path: string | undefined
  readonly #incoming: IncomingMessage | undefined
  /** The incoming message, where nothing has made a Headers object of its fields yet, so that both are the same. */
  readonly #untouched: IncomingMessage | undefined
  /** Fields of the incoming message while the handler sees watched ones. */
  #unwatched: IncomingHttpHeaders | undefined
  readonly #isPlain: boolean
  #watch: ReadWatch | undefined
  #undo: (() => void) | undefined

  constructor({ native, request, path, route, message, application }: WebRequestOptions<Native>) {
    this.native = native
    this.message = originals.get(request) ?? request
    this.shown = this.message
    this.method = request.method
    this.route = route
    this.#path = path
    this.#incoming = message
    this.#untouched = message !== undefined && isUntouched(this.message, message) ? message : undefined
    this.#isPlain = this.#untouched !== undefined && !hasJudgedFields(this.#untouched.rawHeaders)
    if (application !== undefined) this.dispatch = (run) => this.#refresh(application, run)
  }

  /**
   * The path as the framework has routed it, so that two requests that meet the same route with the same parameters are
   * one, and the query as it came. Where the application is mounted in another one, the path of the mount comes first.
   */
  get target(): string {
    const { url } = this.message
    const mark = url.indexOf('?', AUTHORITY)
    const end = url.indexOf('#', AUTHORITY)
    const query = mark === -1 ? '' : url.slice(mark, end === -1 ? undefined : end)
    const target = (this.#path ?? pathOf(url)) + query
    const sent = this.#incoming?.url
    if (sent === undefined || sent === target) return target
    return sent.startsWith('/') ? mountPath(sent, url) + target : sent
  }

  get origin(): string {
    const { url } = this.message
    const end = url.indexOf('/', AUTHORITY)
    return end === -1 ? url : url.slice(0, end)
  }

  header(name: string): string | undefined {
    if (this.#isPlain && isJudged(name)) return undefined
    const value =
      this.#untouched === undefined ? this.#fieldOf(name) : (this.#unwatched ?? this.#untouched.headers)[name]
    if (value === undefined && name === 'host') return this.origin.slice(this.origin.indexOf('//') + 2)
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** Read past the watch, which is for the handler. */
  #fieldOf(name: string): string | undefined {
    const read = (): string | null => this.message.headers.get(name)
    return (this.#watch === undefined ? read() : this.#watch.ignoring(read)) ?? undefined
  }

  present(run: Presented): void {
    const message = this.#incoming
    if (run.requestFields !== undefined && isChanged(this.message.headers, run.requestFields)) {
      this.shown = new Request(this.message, { headers: changedHeaders(this.message.headers, run.requestFields) })
      originals.set(this.shown, this.message)
    }
    // A handler on Node may read the message behind the request.
    const showAgain = message && run.requestFields && showFields(message, run.requestFields)
    this.#undo = showAgain
    if (run.watched.length === 0) return
    this.#watch = new ReadWatch(run.watched, (name) => run.noteRead(name))
    for (const request of new Set([this.message, this.shown])) watchHeaders(request.headers, this.#watch)
    if (message === undefined) return
    const { headers, rawHeaders } = message
    this.#unwatched = headers
    watchMessage(message, this.#watch)
    this.#undo = () => {
      setFieldProperty(message, 'headers', headers)
      setFieldProperty(message, 'rawHeaders', rawHeaders)
      showAgain?.()
    }
  }

  get watching(): boolean {
    return this.#watch?.active === true
  }

  set watching(active: boolean) {
    if (this.#watch !== undefined) this.#watch.active = active
  }

  restore(): void {
    this.watching = false
    this.#undo?.()
    this.#undo = undefined
  }

  get background(): BackgroundRun | undefined {
    return backgroundRunOf(this.message)
  }

  async #refresh(application: Dispatch, run: BackgroundRun): Promise<void> {
    const headers = new Headers()
    for (const name of new Set(['host', ...run.keyedFields])) {
      const value = this.header(name)
      if (value !== undefined) headers.set(name, value)
    }
    const request = new Request(this.message.url, { headers })
    sendForRun(request, run)
    const { body } = await application(request)
    if (body !== null) for await (const _ of body);
  }
}

/**
 * Whether nothing has asked for the Headers of a request of @hono/node-server. It makes them then, at many times the
 * cost of all else that a hit does; until then the message is the same.
 */
function isUntouched(request: Request, message: IncomingMessage): boolean {
  let isOfMessage = false
  for (const symbol of Object.getOwnPropertySymbols(request)) {
    const value: unknown = Reflect.get(request, symbol)
    if (symbol.description === 'headersKey' && value !== undefined) return false
    if (symbol.description === 'incomingKey') isOfMessage = value === message
  }
  return isOfMessage
}

/** What a mount has taken away from the path that was sent: two mounted applications may have routes of the same name. */
function mountPath(sent: string, url: string): string {
  const whole = pathOf(new URL(sent, url).href)
  const routed = pathOf(url)
  if (whole.length > routed.length && whole.endsWith(routed)) return whole.slice(0, -routed.length)
  return routed === '/' && whole !== '/' ? whole : ''
}

function pathOf(url: string): string {
  const start = url.indexOf('/', AUTHORITY)
  return start === -1 ? '/' : (/^[^?#]*/.exec(url.slice(start))?.[0] ?? '/')
}

type Fields = ReadonlyMap<string, string | undefined>

/** Usually there is nothing to hide. */
function isChanged(headers: Headers, fields: Fields): boolean {
  for (const [name, value] of fields) if (value !== undefined || headers.has(name)) return true
  return false
}

function changedHeaders(headers: Headers, fields: Fields): Headers {
  const changed = new Headers(headers)
  for (const [name, value] of fields) {
    if (value === undefined) changed.delete(name)
    else changed.set(name, value)
  }
  return changed
}

const watches = new WeakMap<Headers, ReadWatch>()

/** Prototypes of Headers, each with the one that watches: @hono/node-server has a class of its own. */
const watchedPrototypes = new WeakMap<object, object>()

function watchHeaders(headers: Headers, watch: ReadWatch): void {
  const isWatched = watches.has(headers)
  watches.set(headers, watch)
  if (isWatched) return
  const prototype = Object.getPrototypeOf(headers) as Headers
  let watched = watchedPrototypes.get(prototype)
  if (watched === undefined) watchedPrototypes.set(prototype, (watched = watchedPrototype(prototype)))
  Object.setPrototypeOf(headers, watched)
}

const METHODS = ['get', 'has', 'forEach', 'entries', 'keys', 'values', Symbol.iterator] as const

/** A prototype of Headers that report what is asked for, by name or with all others. */
function watchedPrototype(parent: Headers): object {
  const methods: PropertyDescriptorMap = {}
  for (const method of METHODS) {
    methods[method] = {
      value(this: Headers, ...args: readonly unknown[]): unknown {
        const read = (): unknown => Reflect.apply(parent[method], this, args)
        const watch = watches.get(this)
        if (watch === undefined) return read()
        if (method === 'get' || method === 'has') watch.read(String(args[0]).toLowerCase())
        else watch.readAll((name) => parent.has.call(this, name))
        // Headers may read the message behind them, which is watched as well.
        return watch.ignoring(read)
      },
    }
  }
  return Object.create(parent, methods) as object
}
