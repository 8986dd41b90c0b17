import type { Context, ExecutionContext } from 'hono'
import type { CachedRoute } from '../../route/cached-route.js'
import type { HandlerRun } from '../../route/handler-run.js'
import { messageOf } from './request.js'

/** Declared as a method, because an application narrows `env` to its own bindings. */
interface Application {
  fetch(request: Request, env?: unknown, executionCtx?: ExecutionContext): Response | Promise<Response>
}

/** `app.fetch`, of the application whose handlers are to run. */
export type Fetch = Application['fetch']

interface Refresh {
  readonly run: HandlerRun
  /** Who is to take it; other caches on the way let the request pass. */
  readonly cache: CachedRoute<Context>
}

/** Handlers that run in the background at once; a refresh beyond them is left to a later request. */
const RUNNING_MAX = 100

/** Runs handlers in the background, with a request that has the keyed inputs and nothing of the user who triggered it. */
export class Refresher {
  readonly #fetch: Fetch
  readonly #refreshes = new WeakMap<Request, Refresh>()
  readonly #running = new Set<Promise<void>>()

  constructor(fetch: Fetch) {
    this.#fetch = fetch
  }

  /** What this request is for, if it is one of ours. */
  refreshOf(request: Request): Refresh | undefined {
    return this.#refreshes.get(request)
  }

  run(c: Context, run: HandlerRun, cache: CachedRoute<Context>): void {
    if (this.#running.size >= RUNNING_MAX) return run.abandon()
    const running = this.#run(c, { run, cache }).finally(() => this.#running.delete(running))
    this.#running.add(running)
    keepAlive(c, () => running)
  }

  /** Resolves when no refresh runs any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#running])
  }

  async #run(c: Context, refresh: Refresh): Promise<void> {
    const request = new Request(c.req.url, { headers: keyedFields(c, refresh.run) })
    this.#refreshes.set(request, refresh)
    try {
      // With @hono/node-server the environment is the connection of the user who asked.
      const env: unknown = messageOf(c) === undefined ? c.env : {}
      const { body } = await this.#fetch(request, env, executionContext(c))
      if (body !== null) for await (const _ of body);
    } catch {
      // The handler's failure is its own to log; the stale entry stays.
    } finally {
      // Nothing where it has ended; what answered before the cached route never took it.
      refresh.run.abandon()
    }
  }
}

function keyedFields({ req }: Context, run: HandlerRun): Record<string, string> {
  const fields = ['host', ...run.keyedFields].map((name) => [name, req.header(name)] as const)
  return Object.fromEntries(fields.filter((field): field is [string, string] => field[1] !== undefined))
}

/** Where the platform ends work with the answer, asks it to wait for this. */
export function keepAlive(c: Context, work: () => Promise<unknown>): void {
  executionContext(c)?.waitUntil(work())
}

/** Hono throws where there is none, and an error costs as much as all else about a miss; Node has none. */
function executionContext(c: Context): ExecutionContext | undefined {
  if (messageOf(c) !== undefined) return undefined
  try {
    return c.executionCtx
  } catch {
    return undefined
  }
}
