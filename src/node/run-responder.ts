import type { ServerResponse } from 'node:http'
import type { Outgoing, ResponseHead } from '../http/index.js'
import type { Eventually } from '../route/options.js'
import type { Run, Streamed } from '../route/run.js'
import { intercept, type Responder } from './interception.js'

/** Which run a response ends, for those who add to it while its handler runs. */
const runs = new WeakMap<ServerResponse, Run>()

/** Whether a handler runs for the cache already. */
export function isRunning(res: ServerResponse): boolean {
  return runs.has(res)
}

/** Adds groups to the entry that a response becomes, if it becomes one. */
export function addGroups(res: ServerResponse, names: readonly string[]): void {
  runs.get(res)?.addGroups(names)
}

export interface RunOptions {
  /** The fields that were set before the route's own. Default: those that are set now. */
  readonly ambient?: Readonly<Record<string, unknown>> | undefined
  readonly failed: (error: unknown) => void
}

/** From here on, what is written to this response ends the run. */
export function endRunWith(res: ServerResponse, run: Run, options: RunOptions): void {
  runs.set(res, run)
  intercept(res, new RunResponder(res, run, options))
}

class RunResponder implements Responder {
  readonly #res: ServerResponse
  readonly #run: Run
  readonly #before: Readonly<Record<string, unknown>>
  readonly failed: (error: unknown) => void
  #ambient: ReadonlySet<string> | undefined

  constructor(res: ServerResponse, run: Run, { ambient = res.getHeaders(), failed }: RunOptions) {
    this.#res = res
    this.#run = run
    this.#before = ambient
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
    return this.#run.finish(head, body, this.ambient())
  }

  streamed(head: ResponseHead): Eventually<Streamed> {
    return this.#run.stream(head, this.ambient())
  }

  closed(): void {
    this.#run.abandon()
  }
}
