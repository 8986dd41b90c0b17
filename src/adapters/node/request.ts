import { type IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { RequestHead, SelectedField } from '../../http/index.js'
import type { MaybePromise } from '../../maybe-promise.js'
import type { PrincipalOf } from '../../route/options.js'
import type { BackgroundRun, RequestContext } from '../../route/request.js'
import { backgroundRuns } from '../background.js'
import type { AdaptedRequest, Presented } from '../exchange.js'
import { ReadWatch, watchSession } from './read-watch.js'
import { watchDerived, WatchedRequest } from './watch.js'

/** Handles requests: an application of a framework, or a router. */
export type Dispatch = (message: IncomingMessage, response: ServerResponse) => void

/** The request of a framework on `node:http`. */
export interface PlatformRequest {
  /** Header fields, lower case. */
  readonly headers: IncomingHttpHeaders
  /** Path and query as the client sent them, before any router or rewrite. */
  readonly originalUrl: string
  /** `http` or `https`. */
  readonly protocol: string
  /** Host and port; those of the proxy if the application trusts it. */
  readonly host: string
}

/** A request's fields by lower-case name. Node parses all of them for the first that is asked for, so most hits ask for none. */
export type SentFields = Pick<RequestHead, 'header'>

export interface NodeRequestOptions<Req> {
  /** The outermost application, which receives the requests. */
  readonly application: Dispatch
  /** Method and template of the route, if one declaration serves several. */
  readonly route?: string | undefined
  /** Host and port, if `host` of the platform's request is something else. */
  readonly host?: (() => string) | undefined
  /** The application's `principal`. */
  readonly principal?: PrincipalOf<Req> | undefined
  /** What the router used in addition to the path, and the request fields behind it: see `RequestContext`. */
  readonly routed?: ((request: Req, sent: SentFields) => readonly SelectedField[]) | undefined
  readonly routedBy?: readonly string[] | undefined
  /** Nothing before the cache changes request fields, so those of most requests need not be parsed for a hit. */
  readonly fieldsAsSent?: boolean | undefined
}

/** A request of a framework on `node:http` as the cache sees it. */
export class NodeRequest<Req extends PlatformRequest> extends WatchedRequest implements AdaptedRequest<Req> {
  readonly native: Req
  readonly message: IncomingMessage
  readonly method: string
  readonly target: string
  readonly principal: AdaptedRequest<Req>['principal']
  readonly #options: NodeRequestOptions<Req>
  /** What the fields as they were sent say: see `onlyCondition`. Undefined where they may have been changed since. */
  readonly #sentCondition: string | undefined

  constructor(native: Req, message: IncomingMessage, options: NodeRequestOptions<Req>) {
    super()
    this.native = native
    this.message = message
    this.method = message.method ?? 'GET'
    this.target = native.originalUrl
    const { principal } = options
    this.principal = principal && this.asking(principal, native)
    this.#options = options
    this.#sentCondition = options.fieldsAsSent === true ? onlyConditionSent(message) : undefined
  }

  get route(): string | undefined {
    return this.#options.route
  }

  get routed(): readonly SelectedField[] | undefined {
    return this.#options.routed?.(this.native, this)
  }

  get routedBy(): readonly string[] | undefined {
    return this.#options.routedBy
  }

  get namesTwoHosts(): boolean {
    return namesTwoHosts(this.unwatched ?? this.native.headers)
  }

  get origin(): string {
    return `${this.native.protocol}://${this.#options.host?.() ?? this.native.host}`
  }

  get onlyCondition(): string | undefined {
    return this.#options.fieldsAsSent === true ? this.#sentCondition : onlyConditionOf(this.native.headers)
  }

  header(name: string): string | undefined {
    if (this.#sentCondition === '' && JUDGED.has(name)) return undefined
    const headers = this.unwatched ?? this.native.headers
    const value = headers[name] ?? (name === 'host' ? headers[':authority'] : undefined)
    return Array.isArray(value) ? value.join(', ') : value
  }

  dispatch(run: BackgroundRun): Promise<void> {
    const message = refreshRequest(this, run.keyedFields)
    backgroundRuns.set(message, run)
    return respond(this.#options.application, message)
  }

  present(run: Presented): MaybePromise<void> {
    this.watch = run.watched.length === 0 ? undefined : new ReadWatch(run)
    this.presentMessage(this.message, run)
    if (this.watch?.watchesClient === true) watchDerived(this.native, this.watch)
    watchSession(this.native, this.watch)
    return this.watch?.observe(run.selectors)
  }
}

/** Over HTTP/2 a client can send `Host` next to `:authority`, with another host. */
export function namesTwoHosts({ host, ':authority': authority }: IncomingHttpHeaders): boolean {
  return host !== undefined && authority !== undefined && host.toLowerCase() !== String(authority).toLowerCase()
}

/** Fields that affect the lookup: caching, conditions, ranges, credentials and protocols. */
export const JUDGED: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'content-length',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range',
  'transfer-encoding',
  'upgrade',
])

const LENGTHS: ReadonlySet<number> = new Set(Array.from(JUDGED, ({ length }) => length))

/**
 * If-None-Match where it is the only one of these fields that was sent, '' where none was, undefined where others were.
 * Node makes its object of fields only when it is asked for; the usual hit does without.
 */
export function onlyConditionSent({ rawHeaders }: IncomingMessage): string | undefined {
  let condition = ''
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (!LENGTHS.has(name.length) || !JUDGED.has(name.toLowerCase())) continue
    if (condition !== '' || name.toLowerCase() !== 'if-none-match') return undefined
    condition = rawHeaders[index + 1] ?? ''
  }
  return condition
}

/** The same of fields that may have been changed since they were sent. */
function onlyConditionOf(headers: IncomingHttpHeaders): string | undefined {
  for (const name of JUDGED) if (headers[name] !== undefined && name !== 'if-none-match') return undefined
  return headers['if-none-match'] ?? ''
}

/** A request with the keyed inputs of another one, and nothing else of the client that sent it. */
export function refreshRequest(
  request: Pick<RequestContext<unknown>, 'target' | 'origin' | 'header'>,
  keyedFields: BackgroundRun['keyedFields'],
): IncomingMessage {
  const { protocol, host } = new URL(request.origin)
  const message = new IncomingMessage(new NoSocket(protocol === 'https:'))
  const http = { httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1 }
  Object.assign(message, { method: 'GET', url: request.target, complete: true, ...http })
  for (const [name, value] of [['host', host] as const, ...keyedFields.filter(([field]) => field !== 'host')]) {
    message.headers[name] = value
    message.rawHeaders.push(name, value)
  }
  // No body: it ends at once.
  message.push(null)
  return message
}

/** Resolves when the application has answered. */
export function respond(dispatch: Dispatch, message: IncomingMessage): Promise<void> {
  const response = new ServerResponse(message)
  response.assignSocket(message.socket)
  return new Promise((resolve) => {
    response.once('finish', () => {
      response.detachSocket(message.socket)
      response.emit('close')
    })
    response.once('close', () => {
      message.socket.destroy()
      resolve()
    })
    dispatch(message, response)
  })
}

/**
 * A connection whose peer accepts everything and never sends. Its address is reserved for documentation (RFC 5737), so that
 * a refresh is not mistaken for a local client.
 */
class NoSocket extends Socket {
  override readonly remoteAddress = '192.0.2.1'
  override readonly remoteFamily = 'IPv4'
  override readonly remotePort = 0
  readonly encrypted: boolean

  constructor(encrypted: boolean) {
    super()
    this.encrypted = encrypted
    // A handler that writes after the end, or destroys its socket, must not end the process.
    this.on('error', () => {})
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done()
  }

  /** Without it the writes of one turn would go to the handle of a real socket, which does not exist. */
  override _writev(_chunks: unknown, done: () => void): void {
    done()
  }
}
