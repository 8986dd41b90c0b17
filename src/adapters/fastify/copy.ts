import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream'
import { isPromise } from '../../maybe-promise.js'
import type { Capture } from '../../route/capture.js'

/**
 * A streamed body while it is sent. Its copy is complete before the last byte is sent, so the next request finds it stored.
 * The handler's stream is read when this one is, which is after all hooks.
 */
export class Copy extends Transform {
  readonly #source: Readable
  readonly #capture: Capture
  #started: (() => void) | undefined

  constructor(source: Readable, capture: Capture, started: () => void) {
    super()
    this.#source = source
    this.#capture = capture
    this.#started = started
    source.once('error', (error) => this.destroy(error))
    this.once('close', () => this.#abandon())
  }

  override _transform(chunk: Buffer, _: BufferEncoding, next: TransformCallback): void {
    const pass = (): void => {
      if (!this.push(chunk)) this.#capture.stalled()
      next()
    }
    const stored = this.#capture.write(chunk)
    if (isPromise(stored)) stored.then(pass, pass)
    else pass()
  }

  override _flush(done: TransformCallback): void {
    const stored = this.#capture.complete()
    if (isPromise(stored)) stored.then(() => done(), done)
    else done()
  }

  override read(size?: number): unknown {
    this.#start()
    return super.read(size) as unknown
  }

  /** Nobody has read it, because another response was sent. */
  #abandon(): void {
    if (this.#started === undefined) return
    this.#started = undefined
    this.#broken()
    this.#source.on('error', () => {}).destroy()
  }

  #start(): void {
    if (this.#started === undefined) return
    this.#started()
    this.#started = undefined
    pipeline(this.#source, this, (error) => {
      if (error) this.#broken()
      else this.#capture.abort()
    })
  }

  /** A write whose client has left goes on until its source has closed. */
  #broken(): void {
    this.#capture.abort()
    this.#source.once('close', () => void this.#capture.complete())
  }
}
