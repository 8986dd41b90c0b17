import type { MaybePromise } from '../../maybe-promise.js'
import type { ServerResponse } from 'node:http'
import { type HeaderList, isSafe, type OutgoingResponse, type ResponseHead } from '../../http/index.js'
import type { HandlerRun, Streamed } from '../../route/handler-run.js'
import type { WriteSession } from '../../route/write-session.js'
import { type Host, isWriting } from './handlers.js'
import { intercept, type Responder } from './interception.js'
import type { NodeRequest, PlatformRequest } from './request.js'

interface Running {
  readonly run: HandlerRun
  readonly request: Prepared
}

/** A request as its handler sees it, and as it was. */
type Prepared = Pick<NodeRequest<PlatformRequest>, 'restore'>

/** Which run a response ends: the innermost. */
const running = new WeakMap<ServerResponse, Running>()

/** Whether a handler runs for the cache. */
export function isRunning(res: ServerResponse): boolean {
  return running.has(res)
}

/** Adds groups to the entry that a response becomes, if it becomes one. */
export function addGroupsToRun(res: ServerResponse, names: readonly string[]): void {
  running.get(res)?.run.addGroups(names)
}

/** Where a router and a route both cache, the inner one decides: what the outer one has begun is over. */
export function giveWay(res: ServerResponse): void {
  const outer = running.get(res)
  if (outer === undefined) return
  running.delete(res)
  outer.run.abandon()
  outer.request.restore()
}

export interface RunOptions {
  /** The fields that were set before the route's own. Default: those that are set now. */
  readonly ambient?: (() => Readonly<Record<string, unknown>>) | undefined
  readonly failed: (error: unknown) => void
}

/** From here on, what is written to this response ends the run. */
export function endRunWith(res: ServerResponse, run: HandlerRun, request: Prepared, options: RunOptions): void {
  running.set(res, { run, request })
  intercept(res, new RunResponder(res, run, options))
}

class RunResponder implements Responder {
  readonly #res: ServerResponse
  readonly #run: HandlerRun
  readonly #before: Readonly<Record<string, unknown>>
  readonly failed: (error: unknown) => void
  #ambient: ReadonlySet<string> | undefined

  constructor(res: ServerResponse, run: HandlerRun, { ambient, failed }: RunOptions) {
    this.#res = res
    this.#run = run
    this.#before = ambient === undefined ? res.getHeaders() : ambient()
    this.failed = failed
  }

  /** Fields from before the handler that it has left as they were. */
  ambient(): ReadonlySet<string> {
    this.#ambient ??= new Set(
      Object.keys(this.#before).filter((name) => this.#res.getHeader(name) === this.#before[name]),
    )
    return this.#ambient
  }

  whole(head: ResponseHead, body: Buffer): MaybePromise<OutgoingResponse> {
    if (this.#hasGivenWay) return { ...head, body }
    return this.#run.finish(head, body, this.ambient())
  }

  streamed(head: ResponseHead): MaybePromise<Streamed> {
    if (this.#hasGivenWay) return { headers: head.headers, capture: undefined }
    return this.#run.stream(head, this.ambient())
  }

  closed(): void {
    this.#run.abandon()
  }

  get #hasGivenWay(): boolean {
    return running.get(this.#res)?.run !== this.#run
  }
}

const NONE: ReadonlySet<string> = new Set()

/** From here on, the answer to a write is sent when what it invalidates is invalid. */
export function endWriteWith(res: ServerResponse, current: () => WriteSession, failed: (error: unknown) => void): void {
  intercept(res, new WriteResponder(current, failed))
}

class WriteResponder implements Responder {
  readonly #current: () => WriteSession
  readonly failed: (error: unknown) => void

  constructor(current: () => WriteSession, failed: (error: unknown) => void) {
    this.#current = current
    this.failed = failed
  }

  ambient(): ReadonlySet<string> {
    return NONE
  }

  whole(head: ResponseHead, body: Buffer): MaybePromise<Pick<OutgoingResponse, 'status' | 'headers' | 'body'>> {
    return after(this.#finish(head, body), (headers) => ({ status: head.status, headers, body }))
  }

  /** What a write invalidates does not wait for the end of its body. */
  streamed(head: ResponseHead): MaybePromise<Streamed> {
    return after(this.#finish(head, undefined), (headers) => ({ headers, capture: undefined }))
  }

  /** A client that went away does not undo the write: its handler goes on, and what it answers counts. */
  closed(): void {}

  #finish({ status, headers }: ResponseHead, body: Buffer | undefined): MaybePromise<HeaderList> {
    const finishing = this.#current().finish({ status, headers: () => headers, body: () => body })
    return after(finishing, (changed) => changed ?? headers)
  }
}

function after<T, U>(value: MaybePromise<T>, then: (value: T) => U): MaybePromise<U> {
  return value instanceof Promise ? value.then(then) : then(value)
}

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

  whole(head: ResponseHead, body: Buffer): MaybePromise<Pick<OutgoingResponse, 'status' | 'headers' | 'body'>> {
    const sent = { ...head, body }
    return this.#invalidate(head)?.then(() => sent) ?? sent
  }

  streamed(head: ResponseHead): MaybePromise<Streamed> {
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
