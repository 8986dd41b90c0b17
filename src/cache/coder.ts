import { jsonProblem } from './loss.js'

/** How values become bytes, and values again. `redwell/devalue` and `redwell/msgpackr` have two more. */
export interface Coder {
  /** Stands in each entry; an entry of another coder is a miss. */
  readonly name: string
  /** Throws what it has no form for; the caller is told which key and namespace it was. */
  encode(value: unknown): Uint8Array
  /** The bytes are the entry's own and must not be changed or kept. What it throws is a miss. */
  decode(bytes: Buffer): unknown
}

/**
 * The default. A Date, and whatever else has a `toJSON`, comes back as what that gave; what JSON would lose without a
 * word (Map, Set, typed arrays, NaN, functions) is refused.
 */
export const jsonCoder: Coder = {
  name: 'json',
  encode(value) {
    const problem = jsonProblem(value)
    if (problem !== undefined) throw new TypeError(problem)
    const text = JSON.stringify(value) as string | undefined
    if (text === undefined) throw new TypeError('its toJSON gives nothing')
    return Buffer.from(text)
  },
  decode: (bytes) => JSON.parse(bytes.toString()) as unknown,
}
