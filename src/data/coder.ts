import { jsonProblem } from '../losses.js'

/** Converts values to bytes and back. `redwell/devalue` and `redwell/msgpackr` have two more. */
export interface Coder {
  /** Stored with each entry; an entry of another coder is a miss. */
  readonly name: string
  /** Throws if it has no form for the value; the error of the caller names key and namespace. */
  encode(value: unknown): Uint8Array
  /** The bytes are the entry's own and must not be changed or kept. What it throws is a miss. */
  decode(bytes: Buffer): unknown
}

/**
 * The default. A Date, or another object with `toJSON`, is read as what that returned. What JSON would lose silently (Map,
 * Set, typed arrays, NaN, functions) is refused.
 */
export const jsonCoder: Coder = {
  name: 'json',
  encode(value) {
    const problem = jsonProblem(value)
    if (problem !== undefined) throw new TypeError(problem)
    const text = JSON.stringify(value) as string | undefined
    if (text === undefined) throw new TypeError('its toJSON() returns undefined')
    return Buffer.from(text)
  },
  decode: (bytes) => JSON.parse(bytes.toString()) as unknown,
}
