import type { ServerResponse } from 'node:http'
import type { Outgoing, ResponseHead } from '../http/index.js'
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

/**
 * Puts a hit in the place of whatever is answered. Nest goes its own way when an interceptor has an answer: other
 * interceptors may wrap it, the platform serializes it, hooks add to it. What comes out at its end is the hit, with the
 * fields of all of them.
 */
export function answerWith(res: ServerResponse, outgoing: Outgoing, ownFields: ReadonlySet<string>): void {
  intercept(res, new HitResponder(res, outgoing, ownFields))
}

class HitResponder implements Responder {
  readonly #res: ServerResponse
  readonly #outgoing: Outgoing
  readonly #ownFields: ReadonlySet<string>
  /** The status that Nest has set for the route. */
  readonly #status: number

  constructor(res: ServerResponse, outgoing: Outgoing, ownFields: ReadonlySet<string>) {
    this.#res = res
    this.#outgoing = outgoing
    this.#ownFields = ownFields
    this.#status = res.statusCode
  }

  ambient(): ReadonlySet<string> {
    const names = this.#res.getHeaderNames()
    return new Set(names.filter((name) => !OF_THE_REPRESENTATION.has(name) && !this.#ownFields.has(name)))
  }

  /** An interceptor around the cache may still refuse. */
  whole(head: ResponseHead, body: Buffer): Pick<Outgoing, 'status' | 'headers' | 'body'> {
    return head.status >= 400 && head.status !== this.#status ? { ...head, body } : this.#outgoing
  }

  /** Somebody else's stream, in place of the hit. */
  streamed({ headers }: ResponseHead): Streamed {
    return { headers, capture: undefined }
  }

  closed(): void {}

  failed(): void {}
}
