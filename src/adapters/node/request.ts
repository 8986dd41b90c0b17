import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { HandlerRun } from '../../route/handler-run.js'
import type { RequestContext } from '../../route/request.js'
import { applyRequestFields, watchDerived, watchFields } from './watch.js'

/** What the requests of frameworks on `node:http` have in common. */
export interface PlatformRequest {
  readonly headers: IncomingHttpHeaders
  /** Path and query as the client sent them, whatever routers and rewrites made of them. */
  readonly originalUrl: string
  readonly protocol: string
  /** Host and port, of the proxy where the application trusts it. */
  readonly host: string
}

/** A request of a framework on `node:http` as the cache sees it. */
export class NodeRequest<Req extends PlatformRequest> implements RequestContext<Req> {
  readonly native: Req
  readonly raw: IncomingMessage
  readonly method: string
  readonly target: string
  readonly route: string | undefined
  readonly #headers: IncomingHttpHeaders
  /** Watched fields, which the cache reads without being watched. */
  #watched: IncomingHttpHeaders | undefined
  #unwatched = false
  /** Fields that the handler sees otherwise than the client sent them. */
  #before: Map<string, string | string[] | undefined> | undefined
  #rawHeaders: string[] | undefined

  constructor(native: Req, raw: IncomingMessage, route?: string) {
    this.native = native
    this.raw = raw
    this.method = raw.method ?? 'GET'
    this.target = native.originalUrl
    this.route = route
    // What a middleware made of them, such as a token that it took from a cookie.
    this.#headers = native.headers
  }

  get origin(): string {
    return `${this.native.protocol}://${this.native.host}`
  }

  header(name: string): string | undefined {
    const value = this.#watched !== undefined && name in this.#watched ? this.#watched[name] : this.#headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** Shows the handler what it has to see, and tells the run when it looks at who is asking. */
  prepareFor(run: HandlerRun): void {
    const { requestFields } = run
    if (requestFields.size > 0) {
      this.#before = new Map([...requestFields.keys()].map((name) => [name, this.#headers[name]]))
      this.#rawHeaders = this.raw.rawHeaders
      applyRequestFields(this.raw, requestFields)
    }
    const { watched } = run
    if (watched.length === 0) return
    this.#watched = Object.fromEntries(watched.map((name) => [name, this.#headers[name]]))
    const read = (name: string): void => {
      if (!this.#unwatched) run.noteRead(name)
    }
    watchFields(this.#headers, watched, read)
    watchDerived(this.native, watched, read)
  }

  /** As the client sent it. */
  restore(): void {
    this.endWatch()
    for (const [name, value] of this.#before ?? []) {
      if (value === undefined) delete this.raw.headers[name]
      else this.raw.headers[name] = value
    }
    if (this.#rawHeaders !== undefined) this.raw.rawHeaders = this.#rawHeaders
  }

  /** The handler is done: who reads on is not answering. */
  endWatch(): void {
    this.#unwatched = true
  }
}

/** What every request is asked for: whether it says anything about caching, conditions, ranges or credentials. */
export const ASKED_OF_ALL: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range',
])

const LENGTHS: readonly boolean[] = lengthsOf(ASKED_OF_ALL)

function lengthsOf(names: ReadonlySet<string>): boolean[] {
  const lengths: boolean[] = []
  for (const { length } of names) lengths[length] = true
  return lengths
}

/**
 * Whether none of the fields that every request is asked for is there. Node makes its object of fields only when it is
 * asked for one; the usual hit does without.
 */
export function saysNothing(rawHeaders: readonly string[]): boolean {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    if (LENGTHS[name.length] === true && ASKED_OF_ALL.has(name.toLowerCase())) return false
  }
  return true
}
