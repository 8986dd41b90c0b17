import type { FastifyRequest } from 'fastify'
import type { CacheRequest } from '../route/request.js'

/** What every request is asked for: whether it says anything about caching, conditions, ranges or credentials. */
const ASKED_OF_ALL: ReadonlySet<string> = new Set([
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

/**
 * Whether none of the fields that every request is asked for is there. Node makes its object of fields only when it is
 * asked for one; the usual hit does without.
 */
function saysNothing(rawHeaders: readonly string[]): boolean {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    if (LENGTHS[name.length] === true && ASKED_OF_ALL.has(name.toLowerCase())) return false
  }
  return true
}
