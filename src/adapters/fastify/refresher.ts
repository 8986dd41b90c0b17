import type { FastifyInstance, FastifyRequest } from 'fastify'
import { randomUUID } from 'node:crypto'
import type { HandlerRun } from '../../route/handler-run.js'

/** Names the run that a request of our own belongs to. The value cannot be guessed and counts once. */
const FIELD = 'x-redwell-refresh'

/** Runs handlers in the background, with a request that has the keyed inputs and nothing of the user who triggered it. */
export class Refresher {
  readonly #app: FastifyInstance
  readonly #runs = new Map<string, HandlerRun>()
  readonly #running = new Set<Promise<void>>()

  constructor(app: FastifyInstance) {
    this.#app = app
  }

  /** The run that this request is for, if it is one of ours. */
  take(request: FastifyRequest): HandlerRun | undefined {
    const token = this.#runs.size === 0 ? undefined : request.headers[FIELD]
    if (token === undefined) return undefined
    delete request.raw.headers[FIELD]
    const run = this.#runs.get(String(token))
    this.#runs.delete(String(token))
    return run
  }

  run(request: FastifyRequest, run: HandlerRun): void {
    const running = this.#run(request, run).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Resolves when no refresh runs any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#running])
  }

  async #run(request: FastifyRequest, run: HandlerRun): Promise<void> {
    const token = randomUUID()
    this.#runs.set(token, run)
    try {
      await this.#app.inject({
        method: 'GET',
        url: request.originalUrl,
        headers: { ...keyedFields(request, run), [FIELD]: token },
      })
    } catch {
      // The handler's failure is its own to log; the stale entry stays.
    } finally {
      // A hook that answered before ours never took the run.
      if (this.#runs.delete(token)) run.abandon()
    }
  }
}

function keyedFields(request: FastifyRequest, run: HandlerRun): Record<string, string> {
  const fields = ['host', ...run.keyedFields].map((name) => [name, request.headers[name]] as const)
  return Object.fromEntries(fields.filter((field): field is [string, string] => typeof field[1] === 'string'))
}
