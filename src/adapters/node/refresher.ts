import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { HandlerRun } from '../../route/handler-run.js'

/** What answers requests: an application of a framework, or a router. */
export type Dispatch = (req: IncomingMessage, res: ServerResponse) => void

/** Handlers that run in the background at once; a refresh beyond them is left to the next request. */
const RUNNING_MAX = 100

/** Runs handlers in the background, with a request that has the keyed inputs and nothing of the user who triggered it. */
export class Refresher {
  readonly #runs = new WeakMap<IncomingMessage, HandlerRun>()
  readonly #running = new Set<Promise<void>>()

  /** The run that this request is for, if it is one of ours. */
  take(raw: IncomingMessage): HandlerRun | undefined {
    const run = this.#runs.get(raw)
    if (run !== undefined) this.#runs.delete(raw)
    return run
  }

  run(dispatch: Dispatch, asked: IncomingMessage, target: string, run: HandlerRun): void {
    if (this.#running.size >= RUNNING_MAX) return run.abandon()
    const running = this.#run(dispatch, requestLike(asked, target, run), run).finally(() =>
      this.#running.delete(running),
    )
    this.#running.add(running)
  }

  /** Resolves when no refresh runs any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#running])
  }

  async #run(dispatch: Dispatch, req: IncomingMessage, run: HandlerRun): Promise<void> {
    this.#runs.set(req, run)
    try {
      await answered(dispatch, req)
    } catch {
      // The handler's failure is its own to log; the stale entry stays.
    } finally {
      // What answered before the cached route never took the run.
      if (this.#runs.delete(req)) run.abandon()
    }
  }
}

function requestLike(asked: IncomingMessage, target: string, run: HandlerRun): IncomingMessage {
  const req = new IncomingMessage(new NoSocket() as unknown as Socket)
  req.method = 'GET'
  req.url = target
  req.httpVersion = '1.1'
  req.httpVersionMajor = 1
  req.httpVersionMinor = 1
  req.complete = true
  for (const name of ['host', ...run.keyedFields]) {
    const value = asked.headers[name]
    if (value === undefined) continue
    req.headers[name] = value
    req.rawHeaders.push(name, String(value))
  }
  // Without a body; whoever waits for its end is not left waiting.
  req.push(null)
  return req
}

function answered(dispatch: Dispatch, req: IncomingMessage): Promise<void> {
  const res = new ServerResponse(req)
  res.assignSocket(req.socket)
  return new Promise((resolve) => {
    res.once('finish', () => {
      res.detachSocket(req.socket)
      res.emit('close')
    })
    res.once('close', () => {
      req.socket.destroy()
      resolve()
    })
    dispatch(req, res)
  })
}

/** A connection from this machine whose other end takes everything and says nothing. */
class NoSocket extends Duplex {
  readonly remoteAddress = '127.0.0.1'
  readonly remoteFamily = 'IPv4'
  readonly remotePort = 0
  readonly encrypted = false

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done()
  }

  setTimeout(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  destroySoon(): void {
    this.destroy()
  }
}
