import type { IncomingMessage } from 'node:http'
import type { MaybePromise } from '../../maybe-promise.js'
import type { PrincipalOf } from '../../route/options.js'
import type { BackgroundRun } from '../../route/request.js'
import { isPath } from '../../route/target.js'
import { backgroundRuns } from '../background.js'
import type { AdaptedRequest, Presented } from '../exchange.js'
import { JUDGED, namesTwoHosts, onlyConditionSent } from '../node/request.js'
import { ReadWatch, watchSession } from '../node/read-watch.js'
import { WatchedRequest, watchOf, watchPrototype } from '../node/watch.js'

/** Index at which the authority of a URL has begun: after `http://` or `https://`. */
const AUTHORITY = 8

/** Handles requests, such as `app.fetch`. */
type Dispatch = (request: Request) => Response | Promise<Response>

interface WebRequestOptions<Native> {
  /** The framework's request or context, for functions in options. */
  readonly native: Native
  readonly request: Request
  /** The application's `principal`. */
  readonly principal?: PrincipalOf<Native> | undefined
  /** The path as the router interpreted it. Default: that of the URL. */
  readonly path?: string | undefined
  /** Method and template of its route. */
  readonly route?: string | undefined
  /** The message of `node:http` behind the request, if there is one. */
  readonly message?: IncomingMessage | undefined
  /** The outermost application. Without it nothing is refreshed in the background. */
  readonly application?: Dispatch | undefined
}

/** Requests as they were sent, by those that the handler saw instead. */
const originals = new WeakMap<Request, Request>()

/** A web `Request` as the cache sees it. */
export class WebRequest<Native> extends WatchedRequest implements AdaptedRequest<Native> {
  readonly native: Native
  readonly message: Request
  readonly method: string
  readonly route: string | undefined
  readonly principal: AdaptedRequest<Native>['principal']
  readonly dispatch?: (run: BackgroundRun) => Promise<void>
  /** The request as the handler sees it. */
  shown: Request
  readonly #path: string | undefined
  readonly #incoming: IncomingMessage | undefined
  /** The incoming message, if no Headers object was created from it yet, so that both are the same. */
  readonly #untouched: IncomingMessage | undefined
  readonly onlyCondition: string | undefined

  constructor({ native, request, path, route, message, application, principal }: WebRequestOptions<Native>) {
    super()
    this.native = native
    this.principal = principal && this.asking(principal, native)
    this.message = originals.get(request) ?? request
    this.shown = this.message
    this.method = request.method
    this.route = route
    this.#path = path
    this.#incoming = message
    this.#untouched = message !== undefined && isUntouched(this.message, message) ? message : undefined
    this.onlyCondition = this.#untouched && onlyConditionSent(this.#untouched)
    if (application !== undefined) this.dispatch = dispatchOf(this, application)
  }

  /**
   * The path as the framework has routed it, so that requests for the same route with the same parameters share a key, and
   * the query as sent. If the application is mounted in another one, the path of the mount comes first.
   */
  get target(): string {
    const { url } = this.message
    const mark = url.indexOf('?', AUTHORITY)
    const end = url.indexOf('#', AUTHORITY)
    const query = mark === -1 ? '' : url.slice(mark, end === -1 ? undefined : end)
    const target = this.#routedPath(pathOf(url)) + query
    const sent = this.#incoming?.url
    if (sent === undefined || sent === target) return target
    return isPath(sent) ? mountPath(sent, url) + target : sent
  }

  /**
   * As sent, if the framework has only decoded it or left out the last slash, because invalidations use the form as sent.
   * Another path is encoded as one that is sent.
   */
  #routedPath(sent: string): string {
    const routed = this.#path
    if (routed === undefined || routed === sent) return sent
    const meant = decoded(routed)
    if (meant === decoded(sent)) return sent
    if (sent.endsWith('/') && meant === decoded(sent.slice(0, -1))) return sent.slice(0, -1)
    return encoded(routed)
  }

  get origin(): string {
    const { url } = this.message
    const end = url.indexOf('/', AUTHORITY)
    return end === -1 ? url : url.slice(0, end)
  }

  get namesTwoHosts(): boolean {
    if (this.#incoming !== undefined) return namesTwoHosts(this.unwatched ?? this.#incoming.headers)
    const host = this.#fieldOf('host')
    return host !== undefined && host.toLowerCase() !== this.#authority.toLowerCase()
  }

  get #authority(): string {
    return this.origin.slice(this.origin.indexOf('//') + 2)
  }

  header(name: string): string | undefined {
    if (this.onlyCondition === '' && JUDGED.has(name)) return undefined
    const value =
      this.#untouched === undefined ? this.#fieldOf(name) : (this.unwatched ?? this.#untouched.headers)[name]
    if (value === undefined && name === 'host') return this.#authority
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** Reads without reporting, which is for the handler only. */
  #fieldOf(name: string): string | undefined {
    return this.unobserved(() => this.message.headers.get(name)) ?? undefined
  }

  present(run: Presented): MaybePromise<void> {
    // Usually there is nothing to hide.
    const changed = [...(run.requestFields ?? [])].filter(
      ([name, value]) => value !== undefined || this.message.headers.has(name),
    )
    if (changed.length > 0) {
      const headers = new Headers(this.message.headers)
      for (const [name, value] of changed) {
        if (value === undefined) headers.delete(name)
        else headers.set(name, value)
      }
      this.shown = new Request(this.message, { headers })
      originals.set(this.shown, this.message)
      if (this.background !== undefined) backgroundRuns.set(this.shown, this.background)
    }
    this.watch = run.watched.length === 0 ? undefined : new ReadWatch(run)
    if (typeof this.native === 'object' && this.native !== null) watchSession(this.native, this.watch)
    const headers = [this.message.headers, this.shown.headers]
    if (this.watch !== undefined) for (const one of headers) watchPrototype(one, this.watch, headersPrototype)
    // A handler on Node may read the message behind the request.
    if (this.#incoming !== undefined) this.presentMessage(this.#incoming, run)
    return this.watch?.observe(run.selectors)
  }

  async refresh(application: Dispatch, run: BackgroundRun): Promise<void> {
    const headers = new Headers({ host: this.header('host') ?? '' })
    for (const [name, value] of run.keyedFields) headers.set(name, value)
    const request = new Request(this.message.url, { headers })
    backgroundRuns.set(request, run)
    const { body } = await application(request)
    if (body !== null) for await (const _ of body);
  }
}

/** A function of its own: a closure in the constructor would cost the requests without it as well. */
function dispatchOf<Native>(request: WebRequest<Native>, application: Dispatch): (run: BackgroundRun) => Promise<void> {
  return (run) => request.refresh(application, run)
}

/**
 * Whether the Headers of a request of @hono/node-server were not created yet. Creating them costs many times more than the
 * rest of a hit; until then the message has the same content.
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

/** The part of the path that a mount has removed: two mounted applications may have the same routes. */
function mountPath(sent: string, url: string): string {
  const whole = pathOf(new URL(sent, url).href)
  const routed = pathOf(url)
  if (whole.length > routed.length && whole.endsWith(routed)) return whole.slice(0, -routed.length)
  return routed === '/' && whole !== '/' ? whole : ''
}

/** Percent-encoded octets stay as they are. */
function encoded(path: string): string {
  try {
    return encodeURI(path).replaceAll('%25', '%')
  } catch {
    return path
  }
}

function decoded(path: string): string {
  if (!path.includes('%')) return path
  try {
    return decodeURI(path)
  } catch {
    return path
  }
}

function pathOf(url: string): string {
  const start = url.indexOf('/', AUTHORITY)
  return start === -1 ? '/' : (/^[^?#]*/.exec(url.slice(start))?.[0] ?? '/')
}

const METHODS = ['get', 'has', 'forEach', 'entries', 'keys', 'values', Symbol.iterator] as const

/** A prototype of Headers that reports reads, by name or of all fields. @hono/node-server has its own class. */
function headersPrototype(parent: Headers): object {
  const methods: PropertyDescriptorMap = {}
  for (const method of METHODS) {
    methods[method] = {
      value(this: Headers, ...args: readonly unknown[]): unknown {
        const read = (): unknown => Reflect.apply(parent[method], this, args)
        const watch = watchOf(this)
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
