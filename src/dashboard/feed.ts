import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../errors.js'
import type { Redis } from '../create-redis.js'
import { healthOf } from '../operate/health.js'
import { LiveView } from '../operate/live.js'
import { type RateOf, Rates } from '../operate/rates.js'
import { type OriginTotals, totalsOf } from '../operate/totals.js'
import type { ProcessReport } from '../report/types.js'

/** Most pages that may be open at once; each costs a connection and a few kB per second. */
const LISTENERS_MAX = 100

/** INFO is requested once in this many reports. */
const HEALTH_EVERY = 5

/** Routes and namespaces that are sent, the busiest first. */
const ORIGINS_SENT = 100

/** Pause before Redis is asked again when it did not answer. */
const AWAY_PAUSE_MS = 1000

/** A stream ends after this time and its page opens the next one, so that the guard runs again. */
const STREAM_MS = 5 * 60_000

/** Pause before a page opens another stream: after its end, and after a failure. */
const RETRY_MS = { end: 50, failure: 2000 }

type Listener = (event: string, data: unknown) => void

/** Collects the reports of all processes, once for all open pages. Runs only while there are any. */
export class Feed {
  readonly #listeners = new Set<Listener>()
  #running: AbortController | undefined
  /** What a page is shown when it opens. */
  readonly #last = new Map<string, unknown>()
  #closed = false

  constructor(private readonly redis: Redis) {}

  get isFull(): boolean {
    return this.#listeners.size >= LISTENERS_MAX
  }

  /** Number of open pages. */
  get size(): number {
    return this.#listeners.size
  }

  /** Returns the function that ends it. A feed that was closed ends at once. */
  listen(listener: Listener): () => void {
    if (this.#closed) {
      listener('end', null)
      return () => {}
    }
    this.#listeners.add(listener)
    for (const [event, data] of this.#last) listener(event, data)
    this.#running ??= this.#start()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#stop()
    }
  }

  /** Ends all of them, and whichever open later: a server that closes waits for its connections. */
  close(): void {
    this.#closed = true
    this.#tell('end', null)
    this.#listeners.clear()
    this.#stop()
  }

  #stop(): void {
    this.#running?.abort()
    this.#running = undefined
    this.#last.clear()
  }

  #start(): AbortController {
    const stopped = new AbortController()
    void this.#run(stopped.signal)
    return stopped
  }

  async #run(signal: AbortSignal): Promise<void> {
    let view: LiveView | undefined
    const rates = new Rates()
    for (let turn = 0; !signal.aborted; turn += 1) {
      let waitMs = AWAY_PAUSE_MS
      try {
        view ??= await LiveView.open(this.redis)
        const reports = await view.read()
        if (signal.aborted) break
        this.#last.delete('away')
        this.#keep('state', stateOf(reports, rates.next(reports)))
        waitMs = view.pauseMs
      } catch (error) {
        if (signal.aborted) break
        this.#keep('away', { message: messageOf(error) })
      }
      if (turn % HEALTH_EVERY === 0) {
        const health = await healthOf(this.redis)
        if (!signal.aborted) this.#keep('health', health)
      }
      await pause(waitMs, undefined, { signal, ref: false }).catch(() => {})
    }
    view?.close()
  }

  #keep(event: string, data: unknown): void {
    this.#last.delete(event)
    this.#last.set(event, data)
    this.#tell(event, data)
  }

  #tell(event: string, data: unknown): void {
    for (const listener of [...this.#listeners]) listener(event, data)
  }
}

function stateOf(reports: readonly ProcessReport[], rateOf: RateOf): unknown {
  const totals = totalsOf(reports)
  const rated = (origin: OriginTotals): unknown => ({ ...origin, perSecond: rateOf(origin) })
  return {
    at: Date.now(),
    totals: { ...totals, all: rated(totals.all), origins: totals.origins.slice(0, ORIGINS_SENT).map(rated) },
    processes: reports.map(({ origins: _, events: __, rateLimits: ___, ...process }) => process),
    events: reports.flatMap(({ id, events }) => events.map((event) => ({ ...event, process: id }))),
  }
}

/** An answer of server-sent events. Ends with the feed, when its client goes, or after STREAM_MS. */
export function eventStream(feed: Feed, headers: Readonly<Record<string, string>>): Response {
  const encoder = new TextEncoder()
  const retry = (ms: number): Uint8Array => encoder.encode(`retry: ${ms}\n\n`)
  let leave = (): void => {}
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(retry(RETRY_MS.failure))
      const ends = setTimeout(() => {
        leave()
        controller.enqueue(retry(RETRY_MS.end))
        controller.close()
      }, STREAM_MS).unref()
      const forget = feed.listen((event, data) => {
        if (event === 'end') {
          clearTimeout(ends)
          return controller.close()
        }
        // A client that does not read gets the next state, not all that it has missed.
        if ((controller.desiredSize ?? 0) > -STALLED_MAX)
          controller.enqueue(encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`))
      })
      leave = () => {
        clearTimeout(ends)
        forget()
      }
    },
    cancel: () => leave(),
  })
  const fields = { ...headers, 'content-type': 'text/event-stream', 'cache-control': 'no-store, no-transform' }
  return new Response(body, { headers: { ...fields, 'x-accel-buffering': 'no' } })
}

/** Events that a client may leave unread. */
const STALLED_MAX = 16
