import type { ServerResponse } from 'node:http'
import type { Outgoing } from '../http/index.js'
import { fieldsOf, removeFields } from '../node/fields.js'
import { type Methods, methodsOf, setHead } from '../node/interception.js'

/** Fields of the empty answer that Nest gives in a hit's place. */
const OF_THE_REPRESENTATION = [
  'content-encoding',
  'content-language',
  'content-length',
  'content-range',
  'content-type',
  'etag',
  'last-modified',
  'location',
  'transfer-encoding',
]

/** What the entry alone knows, whoever else sets it. */
const OF_THE_ENTRY = new Set([
  ...OF_THE_REPRESENTATION,
  'age',
  'cache-control',
  'cache-groups',
  'cache-status',
  'date',
  'expires',
  'vary',
  'x-redis-cache',
])

/** What is set when the hit is found. */
export interface AlreadySet {
  /** By everybody who came before the route, and by Nest for it. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Names (lower case) of those that the route's decorators have set. */
  readonly own: ReadonlySet<string>
}

/**
 * Puts a hit in the place of whatever is answered. Nest goes its own way when an interceptor has an answer: other
 * interceptors may wrap it, the platform serializes it, hooks add to it. What comes out at its end is the hit, with the
 * fields of all of them. Written for speed: this is done for each hit.
 */
export function answerWith(res: ServerResponse, outgoing: Outgoing, set: AlreadySet): void {
  const { statusCode } = res
  const node = methodsOf(res)
  const answer: Methods = {
    writeHead(...head) {
      setHead(res, head)
      return res
    },
    end(...given) {
      Object.assign(res, node)
      // An interceptor around the cache may still refuse.
      if (res.statusCode >= 400 && res.statusCode !== statusCode) return node.end.apply(res, given)
      become(res, outgoing, set)
      return node.end.call(res, outgoing.body)
    },
    // Somebody else's stream, in place of the hit.
    write(...given) {
      Object.assign(res, node)
      return node.write.apply(res, given)
    },
    flushHeaders() {
      Object.assign(res, node)
      node.flushHeaders.call(res)
    },
  }
  Object.assign(res, answer)
}

function become(res: ServerResponse, outgoing: Outgoing, { fields, own }: AlreadySet): void {
  res.statusCode = outgoing.status
  res.statusMessage = ''
  removeFields(res, OF_THE_REPRESENTATION)
  for (const name of own) res.removeHeader(name)
  for (const [name, value, lower] of fieldsOf(outgoing)) {
    if (OF_THE_ENTRY.has(lower) || !isLate(res, lower, fields)) res.setHeader(name, value)
  }
  if (outgoing.body !== null) res.setHeader('Content-Length', outgoing.body.length)
}

/** A hook of the platform has set it for this answer; the entry may have the one of the answer it was made of. */
function isLate(res: ServerResponse, name: string, before: AlreadySet['fields']): boolean {
  const value = res.getHeader(name)
  return value !== undefined && value !== before[name]
}
