import type { FastifyRequest } from 'fastify'
import { ASKED_OF_ALL, saysNothing } from '../node/plain-request.js'
import type { CacheRequest } from '../route/request.js'

/** A Fastify request as the cache sees it. */
export class CacheableRequest implements CacheRequest<FastifyRequest> {
  readonly native: FastifyRequest
  readonly method: string
  readonly #saysNothing: boolean

  constructor(native: FastifyRequest) {
    this.native = native
    this.method = native.method
    this.#saysNothing = saysNothing(native.raw.rawHeaders)
  }

  /** Before any rewrite by the application: what the client sent. */
  get target(): string {
    return this.native.originalUrl
  }

  get origin(): string {
    return `${this.native.protocol}://${this.native.host}`
  }

  header(name: string): string | undefined {
    if (this.#saysNothing && ASKED_OF_ALL.has(name)) return undefined
    const value = this.native.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }
}
