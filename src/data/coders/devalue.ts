/**
 * A coder on devalue: readable text that keeps dates, maps, sets and cycles.
 *
 * @module redwell/devalue
 */
import { parse, stringify } from 'devalue'
import type { Coder } from '../coder.js'

/**
 * Keeps what JSON loses: Date, Map, Set, bigint, typed arrays, URL, RegExp, `undefined`, NaN, and values that contain
 * themselves. Text, so that it is still readable in Redis. Needs the package `devalue`.
 *
 * @example
 * const reports = redis.cache.namespace<number, Report>('reports', { ttl: '1h', coder: devalueCoder })
 */
export const devalueCoder: Coder = {
  name: 'devalue',
  encode: (value) => Buffer.from(stringify(value)),
  decode: (bytes) => parse(bytes.toString()) as unknown,
}
