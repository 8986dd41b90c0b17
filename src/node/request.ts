import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { CacheRequest } from '../route/request.js'

/** What a framework's request has to tell. */
export interface PlatformRequest {
  readonly headers: IncomingHttpHeaders
  /** Path and query as the client sent them, whatever routers and rewrites made of them. */
  readonly originalUrl: string
}

/** A request of a framework on `node:http` as the cache sees it. */
export class NodeRequest<Req extends PlatformRequest> implements CacheRequest<Req> {
  readonly native: Req
  readonly raw: IncomingMessage
  readonly method: string
  readonly target: string
  readonly #headers: IncomingHttpHeaders
  #hidden: Record<string, string | string[] | undefined> | undefined

  constructor(native: Req, raw: IncomingMessage) {
    this.native = native
    this.raw = raw
    this.method = raw.method ?? 'GET'
    this.target = native.originalUrl
    // Fields that a middleware has changed count as changed, so these are not the raw ones.
    this.#headers = native.headers
  }

  header(name: string): string | undefined {
    const value = this.#hidden !== undefined && name in this.#hidden ? this.#hidden[name] : this.#headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** Shows the handler other fields than the client sent; undefined: none. The cache goes on seeing the client's. */
  change(fields: Iterable<readonly [name: string, value: string | undefined]>): void {
    for (const [name, value] of fields) {
      this.#hidden ??= {}
      if (!(name in this.#hidden)) this.#hidden[name] = this.#headers[name]
      if (value === undefined) delete this.raw.headers[name]
      else this.raw.headers[name] = value
    }
  }
}
