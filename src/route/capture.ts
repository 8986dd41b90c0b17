import type { HeaderList, OutgoingResponse } from '../http/index.js'
import type { MaybePromise } from '../maybe-promise.js'

/** How long other requests wait for a body that is still being sent: longer than a handler takes that writes it at once. */
const WAIT_FOR_BODY_MS = 250

/** The result of capturing a body. */
export interface CaptureTarget {
  /** A promise where the last byte has to wait. */
  complete(body: Buffer): MaybePromise<unknown>
  /** It ended early, or is over the limit. */
  abort(reason: 'truncated' | 'body-too-large'): void
  /** It is slow: other requests must not wait for its end. */
  releaseWaiters(): void
}

/** Follows a body on its way out. Where one of its promises is pending, what it is told of waits. */
export interface Capture {
  /** With the last of a declared length the client has the whole body, whatever comes after it. */
  write(chunk: Uint8Array | string): MaybePromise<unknown>
  /** The body ended where it should. */
  complete(): MaybePromise<unknown>
  /** It ended early. */
  abort(): void
  /** The reader is slower than the source, so that the end may be far away. */
  stalled(): void
}

/** How the response of a handler leaves whose body comes in pieces. */
export interface Streamed {
  /** Send this, and end the stream: the handler has failed, and a stored response is sent in place of its own. */
  readonly instead?: OutgoingResponse | undefined
  readonly headers: HeaderList
  /** Undefined where nothing depends on the body. */
  readonly capture: Capture | undefined
}

/** Keeps a copy of a body while it streams out. Gives up over the limit; the stream does not notice. */
export class BodyCopy implements Capture {
  readonly #limit: number
  readonly #length: number | undefined
  readonly #target: CaptureTarget
  readonly #timer: NodeJS.Timeout
  #chunks: Buffer[] = []
  #bytes = 0
  #open = true

  /** `length`: what the head says that the body has. */
  constructor(limit: number, target: CaptureTarget, length?: number) {
    this.#limit = limit
    this.#length = length
    this.#target = target
    this.#timer = setTimeout(() => this.stalled(), WAIT_FOR_BODY_MS)
    this.#timer.unref()
  }

  /** Copies the bytes: a handler may use its buffer again. */
  write(chunk: Uint8Array | string): MaybePromise<unknown> {
    if (!this.#open) return undefined
    const length = lengthOf(chunk)
    this.#bytes += length
    if (this.#bytes > this.#limit) return this.#giveUp('body-too-large')
    // Not from the pool, of which a small copy would keep 8 KiB alive.
    const copy = Buffer.allocUnsafeSlow(length)
    if (typeof chunk === 'string') copy.write(chunk)
    else copy.set(chunk)
    this.#chunks.push(copy)
    return this.#bytes === this.#length ? this.complete() : undefined
  }

  stalled(): void {
    clearTimeout(this.#timer)
    if (this.#open) this.#target.releaseWaiters()
  }

  complete(): MaybePromise<unknown> {
    if (!this.#open) return undefined
    this.#close()
    const [only] = this.#chunks
    const body = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks)
    this.#chunks = []
    return this.#target.complete(body)
  }

  /** A part is never stored. */
  abort(): void {
    if (this.#open) this.#giveUp('truncated')
  }

  #giveUp(reason: 'truncated' | 'body-too-large'): void {
    this.#close()
    this.#chunks = []
    this.#target.abort(reason)
  }

  #close(): void {
    this.#open = false
    clearTimeout(this.#timer)
  }
}

/** Waits for the end of a write whose response is streamed, and copies nothing. */
export class EndOfWrite implements Capture {
  readonly #ended: () => MaybePromise<unknown>
  readonly #length: number | undefined
  #bytes = 0
  #isComplete = false

  /** `ended` is called whenever the body ends: of one that its client has left, the handler may still end it. */
  constructor(ended: () => MaybePromise<unknown>, length: number | undefined) {
    this.#ended = ended
    this.#length = length
  }

  write(chunk: Uint8Array | string): MaybePromise<unknown> {
    this.#bytes += lengthOf(chunk)
    return this.#bytes === this.#length ? this.complete() : undefined
  }

  complete(): MaybePromise<unknown> {
    this.#isComplete = true
    return this.#ended()
  }

  abort(): void {
    if (!this.#isComplete) void this.#ended()
  }

  stalled(): void {}
}

function lengthOf(chunk: Uint8Array | string): number {
  return typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.byteLength
}
