import type { ServerResponse } from 'node:http'
import type { HeaderList, Outgoing, ResponseHead } from '../http/index.js'
import { intercept, type Responder } from '../node/interception.js'
import type { Streamed } from '../route/run.js'

/** Fields of the empty answer that Nest gives in a hit's place. */
const OF_THE_REPRESENTATION = new Set([
  'content-encoding',
  'content-language',
  'content-length',
  'content-range',
  'content-type',
  'etag',
  'last-modified',
  'location',
  'transfer-encoding',
])

/** What the entry alone knows, whoever else sets it. */
const OF_THE_ENTRY = new Set([
  'age',
  'cache-control',
  'cache-groups',
  'cache-status',
  'date',
  'expires',
  'vary',
  'x-redis-cache',
])

type Fields = Readonly<Record<string, unknown>>

/**
 * Puts a hit in the place of whatever is answered. Nest goes its own way when an interceptor has an answer: other
 * interceptors may wrap it, the platform serializes it, hooks add to it. What comes out at its end is the hit, with the
 * fields of all of them. `ownFields`: those that the route's decorators have set.
 */
export function answerWith(res: ServerResponse, outgoing: Outgoing, set: Fields, ownFields: ReadonlySet<string>): void {
  intercept(res, new HitResponder(res, outgoing, set, ownFields))
}

class HitResponder implements Responder {
  readonly #res: ServerResponse
  readonly #outgoing: Outgoing
  readonly #set: Fields
  readonly #ownFields: ReadonlySet<string>
  /** The status that Nest has set for the route. */
  readonly #status: number

  constructor(res: ServerResponse, outgoing: Outgoing, set: Fields, ownFields: ReadonlySet<string>) {
    this.#res = res
    this.#outgoing = outgoing
    this.#set = set
    this.#ownFields = ownFields
    this.#status = res.statusCode
  }

  ambient(): ReadonlySet<string> {
    return new Set(this.#res.getHeaderNames().filter((name) => this.#isOfOthers(name)))
  }

  /** An interceptor around the cache may still refuse. */
  whole(head: ResponseHead, body: Buffer): Pick<Outgoing, 'status' | 'headers' | 'body'> {
    if (head.status >= 400 && head.status !== this.#status) return { ...head, body }
    const late = this.#res.getHeaderNames().filter((name) => this.#isLate(name))
    return late.length === 0 ? this.#outgoing : { ...this.#outgoing, headers: without(this.#outgoing.headers, late) }
  }

  /** Somebody else's stream, in place of the hit. */
  streamed({ headers }: ResponseHead): Streamed {
    return { headers, capture: undefined }
  }

  closed(): void {}

  failed(): void {}

  #isOfOthers(name: string): boolean {
    return !OF_THE_REPRESENTATION.has(name) && !this.#ownFields.has(name)
  }

  /** A hook of the platform has set it for this answer; the entry may have the one of the answer it was made of. */
  #isLate(name: string): boolean {
    return this.#isOfOthers(name) && !OF_THE_ENTRY.has(name) && this.#res.getHeader(name) !== this.#set[name]
  }
}

function without(headers: HeaderList, names: readonly string[]): HeaderList {
  return headers.filter((_, index) => !names.includes((headers[index - (index % 2)] as string).toLowerCase()))
}
