import type { ServerResponse } from 'node:http'
import { isSafe, type Outgoing, type ResponseHead } from '../http/index.js'
import type { Eventually } from '../route/options.js'
import type { Streamed } from '../route/run.js'
import type { Host } from './host.js'
import { intercept, type Responder } from './interception.js'
import type { NodeRequest, PlatformRequest } from './request.js'
import { isRunning } from './run-responder.js'
import { isWriting } from './writer.js'

const watched = new WeakSet<ServerResponse>()

/** From here on, a successful answer to a request by an unsafe method invalidates what is cached of its URI. */
export function invalidateBy<Req extends PlatformRequest>(
  host: Host,
  request: NodeRequest<Req>,
  res: ServerResponse,
  failed: (error: unknown) => void,
): void {
  if (isSafe(request.method) || watched.has(res) || res.headersSent) return
  if (host.routes.paths.size === 0) return
  watched.add(res)
  intercept(res, new UnsafeResponder(host, request, res, failed))
}

/** For routes that say nothing about caching themselves. */
class UnsafeResponder<Req extends PlatformRequest> implements Responder {
  readonly #host: Host
  readonly #request: NodeRequest<Req>
  readonly #res: ServerResponse
  readonly failed: (error: unknown) => void

  constructor(host: Host, request: NodeRequest<Req>, res: ServerResponse, failed: (error: unknown) => void) {
    this.#host = host
    this.#request = request
    this.#res = res
    this.failed = failed
  }

  ambient(): ReadonlySet<string> {
    return NONE
  }

  whole(head: ResponseHead, body: Buffer): Eventually<Pick<Outgoing, 'status' | 'headers' | 'body'>> {
    const sent = { ...head, body }
    return this.#invalidate(head)?.then(() => sent) ?? sent
  }

  streamed(head: ResponseHead): Eventually<Streamed> {
    const sent = { headers: head.headers, capture: undefined }
    return this.#invalidate(head)?.then(() => sent) ?? sent
  }

  closed(): void {}

  #invalidate({ status, headers }: ResponseHead): Promise<unknown> | undefined {
    if (isWriting(this.#res) || isRunning(this.#res)) return undefined
    const begun = this.#host.routes.unsafe.begin(this.#request)
    const answer = { status, headers: () => headers, body: () => undefined }
    if (begun instanceof Promise) return begun.then((run) => run.finish(answer))
    const finishing = begun.finish(answer)
    return finishing instanceof Promise ? finishing : undefined
  }
}

const NONE: ReadonlySet<string> = new Set()
