import type { MaybePromise } from '../maybe-promise.js'

interface CaptureEnd {
  /** A promise where the last byte has to wait. */
  readonly complete: (body: Buffer) => MaybePromise<unknown>
  readonly abort: () => void
  readonly tooLong: () => void
}

/** Keeps a copy of a body while it streams out. Gives up over the limit; the stream does not notice. */
export class Capture {
  readonly #limit: number
  readonly #end: CaptureEnd
  #chunks: Buffer[] = []
  #bytes = 0
  #open = true

  constructor(limit: number, end: CaptureEnd) {
    this.#limit = limit
    this.#end = end
  }

  write(chunk: Uint8Array | string): void {
    if (!this.#open) return
    const bytes =
      typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    this.#bytes += bytes.length
    if (this.#bytes > this.#limit) return this.#giveUp(this.#end.tooLong)
    this.#chunks.push(bytes)
  }

  /** The body ended where it should. A promise, where there is one, resolves when the last byte may leave. */
  complete(): MaybePromise<unknown> {
    if (!this.#open) return undefined
    this.#open = false
    const body = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks)
    this.#chunks = []
    return this.#end.complete(body)
  }

  /** It ended early: a part is never stored. */
  abort(): void {
    if (this.#open) this.#giveUp(this.#end.abort)
  }

  #giveUp(tell: () => void): void {
    this.#open = false
    this.#chunks = []
    tell()
  }
}
