import type { ServerResponse } from 'node:http'
import type { HeaderList, Outgoing, ResponseHead } from '../http/index.js'
import type { Eventually } from '../route/options.js'
import type { WriteRun } from '../route/write-run.js'
import type { Streamed } from '../route/run.js'
import { intercept, type Responder } from './interception.js'

const NONE: ReadonlySet<string> = new Set()

/** From here on, the answer to a write is sent when what it invalidates is invalid. */
export function endWriteWith(res: ServerResponse, current: () => WriteRun, failed: (error: unknown) => void): void {
  intercept(res, new WriteResponder(current, failed))
}

class WriteResponder implements Responder {
  readonly #current: () => WriteRun
  readonly failed: (error: unknown) => void

  constructor(current: () => WriteRun, failed: (error: unknown) => void) {
    this.#current = current
    this.failed = failed
  }

  ambient(): ReadonlySet<string> {
    return NONE
  }

  whole(head: ResponseHead, body: Buffer): Eventually<Pick<Outgoing, 'status' | 'headers' | 'body'>> {
    return after(this.#finish(head, body), (headers) => ({ status: head.status, headers, body }))
  }

  /** What a write invalidates does not wait for the end of its body. */
  streamed(head: ResponseHead): Eventually<Streamed> {
    return after(this.#finish(head, undefined), (headers) => ({ headers, capture: undefined }))
  }

  /** A client that went away does not undo the write: its handler goes on, and what it answers counts. */
  closed(): void {}

  #finish({ status, headers }: ResponseHead, body: Buffer | undefined): Eventually<HeaderList> {
    const finishing = this.#current().finish({ status, headers: () => headers, body: () => body })
    return after(finishing, (changed) => changed ?? headers)
  }
}

function after<T, U>(value: Eventually<T>, then: (value: T) => U): Eventually<U> {
  return value instanceof Promise ? value.then(then) : then(value)
}
