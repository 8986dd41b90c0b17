import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { BackgroundRun } from '../../route/request.js'
import { type AdaptedRequest, backgroundRunOf, type Presented, sendForRun } from '../exchange.js'
import { type Dispatch, refreshRequest, respond } from './refresh.js'
import { ReadWatch, setFieldProperty, showFields, watchDerived, watchMessage } from './watch.js'

/** What the requests of frameworks on `node:http` have in common. */
export interface PlatformRequest {
  readonly headers: IncomingHttpHeaders
  /** Path and query as the client sent them, before any router or rewrite. */
  readonly originalUrl: string
  readonly protocol: string
  /** Host and port, of the proxy where the application trusts it. */
  readonly host: string
}

export interface NodeRequestOptions {
  /** The application that requests enter by. */
  readonly application: Dispatch
  /** Method and template of its route, where one declaration serves several. */
  readonly route?: string | undefined
  /** Nothing before the cache changes fields, so that those of most requests need not be parsed for a hit. */
  readonly fieldsAsSent?: boolean | undefined
}

/** A request of a framework on `node:http` as the cache sees it. */
export class NodeRequest<Req extends PlatformRequest> implements AdaptedRequest<Req> {
  readonly native: Req
  readonly message: IncomingMessage
  readonly method: string
  readonly target: string
  readonly #options: NodeRequestOptions
  readonly #isPlain: boolean
  /** The fields of the request while its handler sees watched ones. */
  #headers: IncomingHttpHeaders | undefined
  #rawHeaders: string[] | undefined
  /** Puts back the fields that the handler saw otherwise. */
  #showAgain: (() => void) | undefined
  #watch: ReadWatch | undefined

  constructor(native: Req, message: IncomingMessage, options: NodeRequestOptions) {
    this.native = native
    this.message = message
    this.method = message.method ?? 'GET'
    this.target = native.originalUrl
    this.#options = options
    this.#isPlain = options.fieldsAsSent === true && !hasJudgedFields(message.rawHeaders)
  }

  get route(): string | undefined {
    return this.#options.route
  }

  get origin(): string {
    return `${this.native.protocol}://${this.native.host}`
  }

  header(name: string): string | undefined {
    if (this.#isPlain && isJudged(name)) return undefined
    const headers = this.#headers ?? this.native.headers
    const value = headers[name] ?? (name === 'host' ? headers[':authority'] : undefined)
    return Array.isArray(value) ? value.join(', ') : value
  }

  get background(): BackgroundRun | undefined {
    return backgroundRunOf(this.message)
  }

  dispatch(run: BackgroundRun): Promise<void> {
    const message = refreshRequest(this, run.keyedFields)
    sendForRun(message, run)
    return respond(this.#options.application, message)
  }

  present(run: Presented): void {
    this.#headers = this.message.headers
    this.#rawHeaders = this.message.rawHeaders
    if (run.requestFields !== undefined) this.#showAgain = showFields(this.message, run.requestFields)
    if (run.watched.length === 0) return
    this.#watch = new ReadWatch(run.watched, (name) => run.noteRead(name))
    watchMessage(this.message, this.#watch)
    if (this.#watch.watchesCredentials) watchDerived(this.native, this.#watch)
  }

  get watching(): boolean {
    return this.#watch?.active === true
  }

  set watching(active: boolean) {
    if (this.#watch !== undefined) this.#watch.active = active
  }

  restore(): void {
    this.watching = false
    if (this.#headers === undefined || this.#rawHeaders === undefined) return
    setFieldProperty(this.message, 'headers', this.#headers)
    setFieldProperty(this.message, 'rawHeaders', this.#rawHeaders)
    this.#showAgain?.()
    this.#headers = undefined
  }
}

/** Fields by which every request is judged: caching, conditions, ranges and credentials. */
const JUDGED: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range',
])

const LENGTHS: ReadonlySet<number> = new Set(Array.from(JUDGED, ({ length }) => length))

export function isJudged(name: string): boolean {
  return JUDGED.has(name)
}

/**
 * Whether a request has one of the fields by which every request is judged. Node makes its object of fields only when
 * it is asked for; the usual hit does without.
 */
export function hasJudgedFields(rawHeaders: readonly string[]): boolean {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (LENGTHS.has(name.length) && JUDGED.has(name.toLowerCase())) return true
  }
  return false
}
