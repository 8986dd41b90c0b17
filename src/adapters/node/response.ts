import type { ServerResponse } from 'node:http'
import type { OutgoingResponse, ResponseHead } from '../../http/index.js'
import { isPromise, type MaybePromise, settle } from '../../maybe-promise.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { Capture } from '../../route/capture.js'
import type { DeclaredWrite, Host } from '../declarations.js'
import { ambientFields, type Ending, Exchange, RunEnding, type Sent, WriteEnding } from '../exchange.js'
import { BODY_FIELDS, changeFields, fieldsOf, listFields, replaceFields, setFields, snapshotFields } from '../fields.js'
import { type Args, bytesOf, isFunction, setHead, viewOf } from './arguments.js'
import { Hold, refuse } from './hold.js'
import type { NodeRequest, PlatformRequest } from './request.js'

/** A request in a framework that answers through a `ServerResponse`. */
export interface Visit<Req extends PlatformRequest> {
  readonly host: Host
  readonly request: NodeRequest<Req>
  readonly response: ServerResponse
  /** The handler runs. */
  readonly proceed: () => void
  readonly failed: (error: unknown) => void
}

/** Answers a request from the cache, or runs its handler and ends that run with what it writes. */
export function serveCached<Req extends PlatformRequest>(
  { request, response, proceed, failed }: Visit<Req>,
  cachedRoute: CachedRoute<Req>,
  hit: (outgoing: OutgoingResponse) => void,
  begin: (ending: RunEnding) => void = (ending) => (ending.ambient = snapshotFields(response.getHeaders())),
): void {
  settle(
    () => Exchange.of(response).read(cachedRoute, request),
    (found) => {
      if (found === undefined) return proceed()
      if (!(found instanceof RunEnding)) return hit(found)
      begin(found)
      intercept(response, found, failed)
      proceed()
    },
    failed,
  )
}

/** Begins a `cachePut`, a `cacheEvict`, or both; the response is sent after the invalidations. */
export function serveWrite<Req extends PlatformRequest>(
  { host, request, response, proceed, failed }: Visit<Req>,
  declared: DeclaredWrite<Req>,
  begin: (ending: WriteEnding) => void = (ending) => (ending.ambient = snapshotFields(response.getHeaders())),
): void {
  settle(
    () => Exchange.of(response).write(host, declared, request),
    (write) => {
      if (write !== undefined) {
        begin(write)
        intercept(response, write, failed)
      }
      proceed()
    },
    failed,
  )
}

/** Makes a successful request with an unsafe method invalidate its URI (RFC 9111 section 4.4). */
export function serveUnsafe<Req extends PlatformRequest>({ host, request, response, failed }: Visit<Req>): void {
  const ending: Ending | undefined = response.headersSent ? undefined : Exchange.of(response).unsafe(host, request)
  if (ending !== undefined) intercept(response, ending, failed)
}

/** Sends a response from the cache, in addition to the fields that are already set. */
export function sendHit(response: ServerResponse, outgoing: OutgoingResponse): void {
  if (outgoing.status === 304) for (const name of BODY_FIELDS) response.removeHeader(name)
  response.statusCode = outgoing.status
  setFields(response, fieldsOf(outgoing))
  // Node would add it too late for loggers to read it.
  if (outgoing.body !== null) response.setHeader('Content-Length', outgoing.body.length)
  response.end(outgoing.body ?? undefined)
}

/** Decides about a response by its head alone, and changes that in place: nothing is copied. */
export interface HeadEnding {
  /** Called once, when the response is written or its head is. */
  settle(status: number): MaybePromise<void>
  /** Called then, before the head leaves. */
  edit(response: ServerResponse): void
}

/** From here on, the ending decides about what is written to the response. */
export function intercept(
  response: ServerResponse,
  ending: Ending | HeadEnding,
  failed: (error: unknown) => void,
): void {
  new Interception(response, ending, failed).begin()
}

const METHODS = ['write', 'end', 'writeHead', 'flushHeaders'] as const

type Method = (typeof METHODS)[number]

/** How a response is written, as plain functions. */
type Methods = Record<Method, (...args: Args) => unknown>

/**
 * Sits between a handler and `node:http`. The decision about a response that ends in one call covers the whole response;
 * that about a streamed one covers its head, and the pieces pass through. After that the response is Node's own again.
 *
 * `writeHead` only sets fields on the response, so that `writeHead` and `end` count as one call.
 */
class Interception {
  readonly #response: ServerResponse
  readonly #ending: Ending | HeadEnding
  readonly #failed: (error: unknown) => void
  readonly #original: Methods
  readonly #own: Methods
  /**
   * `open`: nothing was written. `deciding`: a decision about the head of a stream is pending, and its pieces wait.
   * `answered`: ended, with a decision pending; what comes later is told so, after it. `replaced`: another response was
   * sent instead; later writes are ignored. `through`: decided.
   */
  #state: 'open' | 'deciding' | 'answered' | 'replaced' | 'through' = 'open'
  /** While a decision is pending. */
  #hold: Hold | undefined
  #capture: Capture | undefined
  #isClosed = false
  /** Bytes that wait. */
  #held = 0
  #waiting: (() => unknown)[] = []

  constructor(response: ServerResponse, ending: Ending | HeadEnding, failed: (error: unknown) => void) {
    this.#response = response
    this.#ending = ending
    this.#failed = failed
    const { write, end, writeHead, flushHeaders } = response as Methods
    this.#original = { write, end, writeHead, flushHeaders }
    this.#own = {
      write: (...args) => this.#write(args),
      end: (...args) => this.#end(args),
      writeHead: (...args) => this.#writeHead(args),
      flushHeaders: () => this.#passes('flushHeaders', []) && this.#call('flushHeaders', []),
    }
  }

  begin(): void {
    const ending = this.#ending
    this.#put(this.#own)
    if ('edit' in ending) return
    if (this.#response.destroyed || this.#response.closed) this.#close(ending)
    else this.#response.once('close', () => this.#close(ending))
    // The source of a write whose client has left goes on until it has closed.
    if (ending instanceof WriteEnding)
      this.#response.once('pipe', (source) => source.once('close', () => this.#isClosed && this.#capture?.complete()))
  }

  /** One by one: Object.assign takes several times as long, for each response. */
  #put({ write, end, writeHead, flushHeaders }: Methods): void {
    const methods = this.#response as Methods
    methods.write = write
    methods.end = end
    methods.writeHead = writeHead
    methods.flushHeaders = flushHeaders
  }

  #call(method: Method, args: Args): unknown {
    return Reflect.apply(this.#original[method], this.#response, args)
  }

  #writeHead(args: Args): ServerResponse {
    if (this.#state === 'through') this.#call('writeHead', args)
    if (this.#state === 'open') setHead(this.#response, args)
    // Those who call it for Node, as compression does, only repeat the status.
    else if (this.#hold !== undefined && args.length > 1) refuse(this.#response, 'write')
    return this.#response
  }

  #write(args: Args): boolean {
    if (!this.#passes('write', args)) return this.#state === 'deciding' && this.#hasRoom(args)
    const stored = this.#capture?.write(bytesOf(args))
    if (isPromise(stored)) return this.#holdBack(args, stored)
    const isDrained = this.#call('write', args) === true
    if (!isDrained) this.#capture?.stalled()
    return isDrained
  }

  /**
   * Whether more may be written while the decision is pending. A writer that is told to wait needs a `drain`, which others,
   * such as compression, may expect from a stream of their own: that emits one if it is given more than it takes at once.
   */
  #hasRoom(args: Args): boolean {
    this.#held += bytesOf(args).length
    return this.#held < HELD_BYTES
  }

  /** The last bytes of a body leave when it is stored. */
  #holdBack(args: Args, stored: Promise<unknown>): true {
    const pass = (): void => this.#pass()
    this.#capture = undefined
    this.#state = 'deciding'
    this.#waiting.push(() => this.#own.write(...args))
    stored.then(pass, pass)
    return true
  }

  #end(args: Args): ServerResponse {
    if (this.#state === 'open') this.#decideByWhole(args)
    else if (this.#passes('end', args)) this.#endStream(args)
    else if (this.#hold !== undefined) this.#hold.ended = true
    return this.#response
  }

  /** Whether a call goes to Node now. The first one starts a stream; calls during the decision about its head wait. */
  #passes(method: Method, args: Args): boolean {
    if (this.#state === 'open') this.#decideByHead()
    if (this.#state === 'deciding' || this.#state === 'answered') this.#waiting.push(() => this.#own[method](...args))
    return this.#state === 'through'
  }

  /** Sent, or the client has left. A decision that is pending is about a whole response, or finds the stream's end. */
  #close(ending: Ending): void {
    this.#isClosed = true
    if (this.#state === 'open') return ending.clientLeft()
    this.#capture?.abort()
    if (this.#hold === undefined) ending.abandon()
  }

  #decideByWhole(args: Args): void {
    const ending = this.#ending
    if ('edit' in ending) {
      this.#state = 'answered'
      return this.#edit(ending, () => this.#call('end', args))
    }
    const head = headOf(this.#response)
    const { statusMessage } = this.#response
    const bytes = bytesOf(args)
    // A copy, because a handler may reuse its buffer after the write.
    const body = ending.needsBody ? Buffer.from(bytes) : viewOf(bytes)
    this.#state = 'answered'
    this.#decide(
      () => ending.whole(head, body, this.#ambient()),
      (sent) =>
        this.#pass(() => {
          this.#setStatus(sent.status, sent.status === head.status ? statusMessage : '')
          if (sent.body !== body) return this.#endWith(sent, args.find(isFunction))
          changeFields(this.#response, head.headers, sent.headers, this.#ambient())
          moveLengthLast(this.#response)
          this.#call('end', args)
        }),
    )
  }

  #edit(ending: HeadEnding, then: () => void): void {
    this.#decide(
      () => ending.settle(this.#response.statusCode),
      () =>
        this.#pass(() => {
          ending.edit(this.#response)
          then()
        }),
    )
  }

  #decideByHead(): void {
    const ending = this.#ending
    this.#state = 'deciding'
    if ('edit' in ending) return this.#edit(ending, () => {})
    const head = headOf(this.#response)
    this.#decide(
      () => ending.streamed(head, this.#ambient()),
      ({ instead, headers, capture }) => {
        if (instead !== undefined) return this.#answerInstead(instead)
        changeFields(this.#response, head.headers, headers, this.#ambient())
        this.#capture = capture
        if (this.#isClosed) capture?.abort()
        this.#pass()
      },
    )
  }

  /** Discards later writes of the handler; a pipe into the response ends with it. */
  #answerInstead(instead: OutgoingResponse): void {
    this.#waiting = []
    this.#restore()
    this.#setStatus(instead.status, '')
    this.#endWith(instead)
    this.#state = 'replaced'
    this.#put(this.#own)
  }

  #endWith({ status, headers, body }: Sent, callback?: unknown): void {
    replaceFields(this.#response, headers, this.#ambient())
    if (status === 304) for (const name of BODY_FIELDS) this.#response.removeHeader(name)
    else if (body !== null) this.#response.setHeader('Content-Length', body.length)
    this.#call('end', [body, callback])
  }

  /** While the decision is pending, the response is held. */
  #decide<T>(step: () => MaybePromise<T>, act: (decided: T) => void): void {
    let decided: MaybePromise<T>
    try {
      decided = step()
    } catch (error) {
      return this.#fail(error)
    }
    if (!isPromise(decided)) return act(decided)
    const hold = new Hold(this.#response, this.#state === 'answered')
    this.#hold = hold
    const settled = (): void => {
      this.#hold = undefined
      hold.release()
    }
    // At once, so that nothing comes between.
    decided
      .then(
        (value) => {
          settled()
          act(value)
        },
        (error: unknown) => {
          settled()
          throw error
        },
      )
      .catch((error: unknown) => this.#fail(error))
  }

  /** HTTP/2 has no reason phrase and warns about one. */
  #setStatus(status: number, message: string): void {
    this.#response.statusCode = status
    if (this.#response.req.httpVersionMajor < 2) this.#response.statusMessage = message
  }

  #ambient(): ReadonlySet<string> {
    return 'edit' in this.#ending ? NONE : ambientFields(this.#response, this.#ending)
  }

  #endStream(args: Args): void {
    const capture = this.#capture
    this.#capture = undefined
    const end = (): void => {
      this.#restore()
      this.#call('end', args)
    }
    const stored = capture?.write(bytesOf(args)) ?? capture?.complete()
    if (isPromise(stored)) stored.then(end, end)
    else end()
  }

  /** `first`: what goes out before all that waits. */
  #pass(first?: () => void): void {
    this.#state = 'through'
    if (this.#capture === undefined) this.#restore()
    const waiting = this.#waiting
    this.#waiting = []
    first?.()
    for (const act of waiting) act()
    // Emits `drain` for writers that wait; if Node's own buffer is full, Node does.
    if (waiting.length > 0 && !this.#response.writableEnded && !this.#response.writableNeedDrain) {
      this.#response.emit('drain')
    }
  }

  #fail(error: unknown): void {
    this.#waiting = []
    this.#state = 'through'
    this.#restore()
    if (!this.#response.headersSent) {
      replaceFields(this.#response, [], this.#ambient())
      this.#setStatus(200, '')
    }
    this.#failed(error)
  }

  /** Functions that others have wrapped around ours stay; ours then pass everything through. */
  #restore(): void {
    const methods = this.#response as Methods
    for (const name of METHODS) if (methods[name] === this.#own[name]) methods[name] = this.#original[name]
  }
}

const NONE: ReadonlySet<string> = new Set()

/** Several times what a stream of Node buffers before it asks its writer to wait. */
const HELD_BYTES = 65_536

function headOf(response: ServerResponse): ResponseHead {
  return { status: response.statusCode, headers: listFields(response) }
}

/** Entries have no Content-Length, so a hit sends it last; a miss does the same. */
function moveLengthLast(response: ServerResponse): void {
  const length = response.getHeader('content-length')
  if (length === undefined) return
  response.removeHeader('content-length')
  response.setHeader('Content-Length', length)
}
