/**
 * A coder on msgpackr: small binary values that keep dates, maps and sets.
 *
 * @module redwell/msgpackr
 */
import { Packr } from 'msgpackr'
import { lossProblem } from '../../losses.js'
import type { Coder } from '../coder.js'

/**
 * Records are defined in each message and shared with none: what is shared lives in the packer's memory, and another
 * process could not decode values that use it. Bytes are copied, because all readers share the entry.
 */
const packr = new Packr({ useRecords: true, moreTypes: true, copyBuffers: true })

/**
 * MessagePack: small, binary, quick for numbers and bytes; keeps Date, Map, Set, bigint and typed arrays. Needs the
 * package `msgpackr`.
 *
 * @example
 * const prices = redis.cache.namespace<string, Prices>('prices', { ttl: '1m', coder: msgpackrCoder })
 */
export const msgpackrCoder: Coder = {
  name: 'msgpackr',
  encode(value) {
    const problem = lossProblem(value)
    if (problem !== undefined) throw new TypeError(problem)
    return packr.pack(value)
  },
  decode: (bytes) => packr.unpack(bytes) as unknown,
}
