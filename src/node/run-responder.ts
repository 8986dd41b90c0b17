import type { ServerResponse } from 'node:http'
import type { Outgoing, ResponseHead } from '../http/index.js'
import type { Eventually } from '../route/options.js'
import type { Run, Streamed } from '../route/run.js'
import type { NodeRequest, PlatformRequest } from './request.js'
import { intercept, type Responder } from './interception.js'

interface Running {
  readonly run: Run
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
export function endRunWith(res: ServerResponse, run: Run, request: Prepared, options: RunOptions): void {
  running.set(res, { run, request })
  intercept(res, new RunResponder(res, run, options))
}

class RunResponder implements Responder {
  readonly #res: ServerResponse
  readonly #run: Run
  readonly #before: Readonly<Record<string, unknown>>
  readonly failed: (error: unknown) => void
  #ambient: ReadonlySet<string> | undefined

  constructor(res: ServerResponse, run: Run, { ambient, failed }: RunOptions) {
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

  whole(head: ResponseHead, body: Buffer): Eventually<Outgoing> {
    if (this.#hasGivenWay) return { ...head, body }
    return this.#run.finish(head, body, this.ambient())
  }

  streamed(head: ResponseHead): Eventually<Streamed> {
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
