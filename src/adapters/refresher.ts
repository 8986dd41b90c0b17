import type { HandlerRun } from '../route/handler-run.js'

/** Handlers that run in the background at once; a refresh beyond them is left to a later request. */
const RUNNING_MAX = 100

/** Runs handlers in the background. */
export class Refresher {
  readonly #running = new Set<Promise<void>>()

  add(request: { dispatch?(run: HandlerRun): Promise<unknown> }, refresh: Promise<HandlerRun | undefined>): void {
    if (this.#running.size >= RUNNING_MAX) return void refresh.then((run) => run?.abandon())
    const running = refresh
      .then(async (run) => {
        if (run !== undefined && request.dispatch !== undefined) await request.dispatch(run)
        else run?.abandon()
      })
      .catch(() => {})
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Resolves when no refresh runs any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#running])
  }
}
