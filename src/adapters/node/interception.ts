import type { MaybePromise } from '../../maybe-promise.js'
import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { HeaderList, OutgoingResponse, ResponseHead } from '../../http/index.js'
import type { Capture } from '../../route/capture.js'
import type { Streamed } from '../../route/handler-run.js'
import { addFields, putLengthLast, readFields, removeBodyFields, replaceFields } from './fields.js'

/** What decides about a response while its handler writes it. */
export interface Responder {
  /** Names (lower case) of the fields that this answer has whatever is sent in place of the handler's. */
  ambient(): ReadonlySet<string>
  /** The whole response is at hand, and nothing of it was sent. Gives what is sent; its `body` may be the one given. */
  whole(head: ResponseHead, body: Buffer): MaybePromise<Pick<OutgoingResponse, 'status' | 'headers' | 'body'>>
  /** The head is there, and the body comes in pieces. */
  streamed(head: ResponseHead): MaybePromise<Streamed>
  /** The connection is gone. */
  closed(): void
  /** `whole` or `streamed` failed, and nothing was sent. */
  readonly failed: (error: unknown) => void
}

type Done = (error?: Error | null) => void

type Chunk = string | Uint8Array

type Encoding = BufferEncoding | Done | undefined

type WriteHead = ServerResponse['writeHead']

/** How a response is written, as plain functions. */
export interface Methods {
  write(chunk: Chunk, encoding?: Encoding, callback?: Done): boolean
  end(chunk?: Chunk | Done | null, encoding?: Encoding, callback?: Done): ServerResponse
  writeHead(...args: Parameters<WriteHead>): ServerResponse
  flushHeaders(): void
}

const METHODS = ['write', 'end', 'writeHead', 'flushHeaders'] as const

/**
 * Stands between a handler and `node:http`. A response that is ended in one go is judged whole; one that comes in
 * pieces is judged by its head, and its pieces pass at once. From then on the response is Node's own again.
 *
 * `writeHead` decides nothing: what it says is set on the response, so that `writeHead` and `end` are one answer.
 */
class Interception {
  readonly #res: ServerResponse
  readonly #responder: Responder
  readonly #original: Methods
  readonly #own: Methods
  /**
   * `open`: nothing is written. `judging`: the head of a stream is being decided about, and its pieces wait. `answered`:
   * ended, and being decided about; what is written after it does not count. `through`: decided.
   */
  #state: 'open' | 'judging' | 'answered' | 'through' = 'open'
  #capture: Capture | undefined
  #bytesLeft: number | undefined
  #waiting: (() => void)[] = []

  constructor(res: ServerResponse, responder: Responder) {
    this.#res = res
    this.#responder = responder
    this.#original = methodsOf(res)
    this.#own = {
      write: (chunk, encoding, callback) => this.#write(chunk, encoding, callback),
      end: (chunk, encoding, callback) => this.#end(chunk, encoding, callback),
      writeHead: (...args) => this.#writeHead(args),
      flushHeaders: () => this.#flushHeaders(),
    }
  }

  begin(): void {
    Object.assign(this.#res, this.#own)
    if (this.#res.destroyed || this.#res.closed) this.#responder.closed()
    else this.#res.once('close', () => this.#close())
  }

  #writeHead(args: Parameters<WriteHead>): ServerResponse {
    if (this.#state === 'through') return this.#original.writeHead.apply(this.#res, args)
    if (this.#state === 'open') setHead(this.#res, args)
    return this.#res
  }

  #write(chunk: Chunk, encoding: Encoding, callback: Done | undefined): boolean {
    if (this.#state === 'open') this.#judgeHead()
    if (this.#state === 'through') {
      if (this.#capture !== undefined) this.#copy(chunk, encoding)
      return this.#original.write.call(this.#res, chunk, encoding, callback)
    }
    if (this.#state === 'judging') this.#waiting.push(() => void this.#write(chunk, encoding, callback))
    return false
  }

  #end(chunk: Chunk | Done | null | undefined, encoding: Encoding, callback: Done | undefined): ServerResponse {
    if (this.#state === 'open') this.#judgeWhole(chunk, encoding, callback)
    else if (this.#state === 'judging') this.#waiting.push(() => void this.#end(chunk, encoding, callback))
    else if (this.#state === 'through') this.#endStream(chunk, encoding, callback)
    return this.#res
  }

  #flushHeaders(): void {
    if (this.#state === 'open') this.#judgeHead()
    if (this.#state === 'through') this.#original.flushHeaders.call(this.#res)
    else if (this.#state === 'judging') this.#waiting.push(() => this.#flushHeaders())
  }

  #close(): void {
    this.#capture?.abort()
    this.#responder.closed()
  }

  #judgeWhole(chunk: Chunk | Done | null | undefined, encoding: Encoding, callback: Done | undefined): void {
    const head = headOf(this.#res)
    const { statusMessage } = this.#res
    const body = isChunk(chunk) ? bytesOf(chunk, encoding) : NOTHING
    this.#state = 'answered'
    this.#decide(
      () => this.#responder.whole(head, body),
      (sent, late) => {
        this.#pass()
        this.#res.statusCode = sent.status
        this.#res.statusMessage = sent.status === head.status ? statusMessage : ''
        if (sent.body === body) {
          this.#setFields(head.headers, sent.headers, late)
          putLengthLast(this.#res)
          this.#original.end.call(this.#res, chunk, encoding, callback)
        } else {
          replaceFields(this.#res, sent.headers, this.#responder.ambient())
          if (sent.status === 304) removeBodyFields(this.#res)
          else if (sent.body !== null) this.#res.setHeader('Content-Length', sent.body.length)
          this.#original.end.call(this.#res, sent.body, doneOf(chunk, encoding, callback))
        }
      },
    )
  }

  #judgeHead(): void {
    const head = headOf(this.#res)
    this.#state = 'judging'
    this.#decide(
      () => this.#responder.streamed(head),
      ({ instead, headers, capture }, late) => {
        if (instead !== undefined) return this.#answerInstead(instead)
        this.#setFields(head.headers, headers, late)
        this.#capture = capture
        this.#bytesLeft = declaredLength(head.headers)
        this.#pass()
      },
    )
  }

  /** What the handler still writes goes nowhere; a pipe into the response ends with the response. */
  #answerInstead({ status, headers, body }: OutgoingResponse): void {
    this.#waiting = []
    this.#restore()
    this.#res.statusCode = status
    this.#res.statusMessage = ''
    replaceFields(this.#res, headers, this.#responder.ambient())
    if (status === 304) removeBodyFields(this.#res)
    else if (body !== null) this.#res.setHeader('Content-Length', body.length)
    this.#original.end.call(this.#res, body)
    this.#state = 'answered'
    Object.assign(this.#res, this.#own)
  }

  /** `late`: the handler went on in the meantime. */
  #decide<T>(ask: () => MaybePromise<T>, act: (decided: T, late: boolean) => void): void {
    let decided: MaybePromise<T>
    try {
      decided = ask()
    } catch (error) {
      return this.#fail(error)
    }
    if (!(decided instanceof Promise)) return act(decided, false)
    decided.then((value) => act(value, true)).catch((error: unknown) => this.#fail(error))
  }

  /** Only what is new where all that was there stays; most answers just gain a few fields. */
  #setFields(before: HeaderList, after: HeaderList, late: boolean): void {
    const unchanged = before.every((text, index) => text === after[index])
    if (unchanged && (!late || areEqual(readFields(this.#res), before))) addFields(this.#res, after, before.length)
    else replaceFields(this.#res, after, late ? NONE : this.#responder.ambient())
  }

  #endStream(chunk: Chunk | Done | null | undefined, encoding: Encoding, callback: Done | undefined): void {
    if (this.#capture !== undefined && isChunk(chunk)) this.#copy(chunk, encoding)
    const capture = this.#capture
    this.#capture = undefined
    const end = (): void => {
      this.#restore()
      this.#original.end.call(this.#res, chunk, encoding, callback)
    }
    const isComplete = this.#bytesLeft === undefined || this.#bytesLeft === 0
    if (!isComplete) capture?.abort()
    // Complete before the last byte leaves: who asks next finds it stored.
    const completing = isComplete ? capture?.complete() : undefined
    if (completing instanceof Promise) completing.then(end, end)
    else end()
  }

  #copy(chunk: Chunk, encoding: Encoding): void {
    const bytes = bytesOf(chunk, encoding)
    if (this.#bytesLeft !== undefined) this.#bytesLeft -= bytes.length
    this.#capture?.write(bytes)
  }

  #pass(): void {
    this.#state = 'through'
    if (this.#capture === undefined) this.#restore()
    const waiting = this.#waiting
    this.#waiting = []
    for (const act of waiting) act()
    // Who was told to wait is told when to go on; where Node's own buffer is full, Node does.
    if (waiting.length > 0 && !this.#res.writableEnded && !this.#res.writableNeedDrain) this.#res.emit('drain')
  }

  #fail(error: unknown): void {
    this.#waiting = []
    this.#state = 'through'
    this.#restore()
    if (!this.#res.headersSent) {
      replaceFields(this.#res, [], this.#responder.ambient())
      this.#res.statusCode = 200
      this.#res.statusMessage = ''
    }
    this.#responder.failed(error)
  }

  /** Where somebody has put functions of his own over ours, they call ours, which pass everything on. */
  #restore(): void {
    for (const name of METHODS) {
      if ((this.#res as Methods)[name] === this.#own[name]) Object.assign(this.#res, { [name]: this.#original[name] })
    }
  }
}

/** From here on, what is written to a response goes by its responder. */
export function intercept(res: ServerResponse, responder: Responder): void {
  new Interception(res, responder).begin()
}

const NOTHING = Buffer.alloc(0)

const NONE: ReadonlySet<string> = new Set()

export function methodsOf(res: Methods): Methods {
  const methods: Partial<Record<keyof Methods, unknown>> = {}
  for (const name of METHODS) methods[name] = res[name]
  return methods as Methods
}

function headOf(res: ServerResponse): ResponseHead {
  return { status: res.statusCode, headers: readFields(res) }
}

function areEqual(a: HeaderList, b: HeaderList): boolean {
  return a.length === b.length && a.every((text, index) => text === b[index])
}

/** The Content-Length that a handler has declared. */
function declaredLength(headers: HeaderList): number | undefined {
  const index = headers.findIndex((text, at) => at % 2 === 0 && text.toLowerCase() === 'content-length')
  return index === -1 ? undefined : Number(headers[index + 1])
}

/** As `writeHead` of Node, with its three forms of fields, but without sending. */
export function setHead(res: ServerResponse, args: Parameters<WriteHead>): void {
  const [status, reason] = args as unknown as [number, unknown]
  const fields = (typeof reason === 'string' ? (args as unknown[])[2] : reason) as
    | OutgoingHttpHeaders
    | readonly unknown[]
    | undefined
  res.statusCode = status
  if (typeof reason === 'string') res.statusMessage = reason
  if (Array.isArray(fields)) setLines(res, Array.isArray(fields[0]) ? fields.flat() : fields)
  else for (const [name, value] of Object.entries(fields ?? {})) res.setHeader(name, value as OutgoingHttpHeader)
}

/** A list may name a field several times; it overrides what was set before. */
function setLines(res: ServerResponse, list: readonly unknown[]): void {
  for (let index = 0; index < list.length; index += 2) res.removeHeader(String(list[index]))
  for (let index = 0; index < list.length; index += 2) res.appendHeader(String(list[index]), String(list[index + 1]))
}

function isChunk(chunk: unknown): chunk is Chunk {
  return typeof chunk === 'string' || chunk instanceof Uint8Array
}

function bytesOf(chunk: Chunk, encoding: Encoding): Buffer {
  if (typeof chunk === 'string') return Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8')
  return Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}

/** The callback among the arguments of `end`. */
function doneOf(...args: unknown[]): Done | undefined {
  return args.find((one): one is Done => typeof one === 'function')
}
