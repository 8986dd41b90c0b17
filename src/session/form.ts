import { jsonProblem } from '../losses.js'
import type { SessionCoder } from './types.js'

/** The form of stored values, as text: equal texts are equal values, so that a change is found without decoding twice. */
export interface ValueForm {
  readonly encoding: 'utf8' | 'latin1'
  /** Undefined: the value is as good as absent. Throws where it has no form. */
  write(value: unknown): string | undefined
  read(text: string): unknown
  /** What the form would lose silently of a value. */
  problem(value: unknown): string | undefined
}

export class JsonForm implements ValueForm {
  readonly encoding = 'utf8'

  write(value: unknown): string | undefined {
    return JSON.stringify(value)
  }

  read(text: string): unknown {
    return JSON.parse(text)
  }

  problem(value: unknown): string | undefined {
    return jsonProblem(value)
  }
}

/** Bytes of a coder, each as one character. */
export class CoderForm implements ValueForm {
  readonly encoding = 'latin1'
  readonly #coder: SessionCoder

  /** In front of each value: what one coder wrote, another may read without an error and as something else. */
  readonly #head: string

  constructor(coder: SessionCoder) {
    this.#coder = coder
    this.#head = `${Buffer.from(coder.name).toString('latin1')}\0`
  }

  write(value: unknown): string | undefined {
    if (value === undefined) return undefined
    const bytes = this.#coder.encode(value)
    if (!(bytes instanceof Uint8Array)) throw new TypeError(`the coder ${this.#coder.name} returned no bytes`)
    return this.#head + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  }

  read(text: string): unknown {
    if (!text.startsWith(this.#head)) throw new Error('encoded by another coder')
    return this.#coder.decode(Buffer.from(text.slice(this.#head.length), 'latin1'))
  }

  problem(): undefined {
    return undefined
  }
}
