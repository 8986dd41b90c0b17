import type { FastifyRequest } from 'fastify'
import type { CacheRequest } from '../route/request.js'

/** Fields that the cache evaluates itself; the handler must answer with the whole representation. */
const CONDITIONALS = ['if-none-match', 'if-modified-since'] as const

/** A Fastify request as the cache sees it. */
export class CacheableRequest implements CacheRequest<FastifyRequest> {
  readonly native: FastifyRequest
  readonly method: string
  readonly #headers: FastifyRequest['headers']
  #hidden: Record<string, string> | undefined

  constructor(native: FastifyRequest) {
    this.native = native
    this.method = native.method
    this.#headers = native.headers
  }

  /** Before any rewrite by the application: what the client sent. */
  get target(): string {
    return this.native.originalUrl
  }

  header(name: string): string | undefined {
    const value = this.#headers[name] ?? this.#hidden?.[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** Takes the conditions out of the handler's sight. */
  hideConditions(): void {
    const { headers } = this.native.raw
    for (const name of CONDITIONALS) {
      const value = headers[name]
      if (value === undefined) continue
      this.#hidden = { ...this.#hidden, [name]: value }
      delete headers[name]
    }
  }
}
