import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { HeaderList, OutgoingResponse, ResponseHead } from '../../http/index.js'
import { isPromise, type MaybePromise } from '../../maybe-promise.js'
import type { Capture } from '../../route/capture.js'
import type { Ending } from '../exchange.js'
import { BODY_FIELDS, changeFields, listFields, removeFields, replaceFields, unchangedFields } from '../fields.js'

type Done = (error?: Error | null) => void

type Chunk = string | Uint8Array

type Encoding = BufferEncoding | Done | undefined

type WriteHead = ServerResponse['writeHead']

/** How a response is written, as plain functions. */
interface Methods {
  readonly write: (chunk: Chunk, encoding?: Encoding, callback?: Done) => boolean
  readonly end: (chunk?: Chunk | Done | null, encoding?: Encoding, callback?: Done) => ServerResponse
  readonly writeHead: (...args: Parameters<WriteHead>) => ServerResponse
  readonly flushHeaders: () => void
}

const METHODS = ['write', 'end', 'writeHead', 'flushHeaders'] as const

/**
 * Stands between a handler and `node:http`. A response that is ended in one go is decided about as a whole; one that
 * comes in pieces by its head, and its pieces pass at once. From then on the response is Node's own again.
 *
 * `writeHead` decides nothing: what it sets is set on the response, so that `writeHead` and `end` are one answer.
 */
class Interception {
  readonly #response: ServerResponse
  readonly #ending: Ending
  readonly #failed: (error: unknown) => void
  readonly #original: Methods
  readonly #own: Methods
  /**
   * `open`: nothing is written. `deciding`: the head of a stream is being decided about, and its pieces wait.
   * `answered`: ended, and being decided about; what is written after it does not count. `through`: decided.
   */
  #state: 'open' | 'deciding' | 'answered' | 'through' = 'open'
  #capture: Capture | undefined
  #waiting: (() => void)[] = []

  constructor(response: ServerResponse, ending: Ending, failed: (error: unknown) => void) {
    this.#response = response
    this.#ending = ending
    this.#failed = failed
    const { write, end, writeHead, flushHeaders } = response as Methods
    this.#original = { write, end, writeHead, flushHeaders }
    this.#own = {
      write: (chunk, encoding, callback) => this.#write(chunk, encoding, callback),
      end: (chunk, encoding, callback) => this.#end(chunk, encoding, callback),
      writeHead: (...args) => this.#writeHead(args),
      flushHeaders: () => this.#flushHeaders(),
    }
  }

  begin(): void {
    Object.assign(this.#response, this.#own)
    if (this.#response.destroyed || this.#response.closed) this.#ending.abandon()
    else this.#response.once('close', () => this.#close())
  }

  #writeHead(args: Parameters<WriteHead>): ServerResponse {
    if (this.#state === 'through') return this.#original.writeHead.apply(this.#response, args)
    if (this.#state === 'open') setHead(this.#response, args)
    return this.#response
  }

  #write(chunk: Chunk, encoding: Encoding, callback: Done | undefined): boolean {
    if (this.#state === 'open') this.#decideByHead()
    if (this.#state === 'through') {
      this.#capture?.write(bytesOf(chunk, encoding))
      const isDrained = this.#original.write.call(this.#response, chunk, encoding, callback)
      if (!isDrained) this.#capture?.stalled()
      return isDrained
    }
    if (this.#state === 'deciding') this.#waiting.push(() => void this.#write(chunk, encoding, callback))
    return false
  }

  #end(chunk: Chunk | Done | null | undefined, encoding: Encoding, callback: Done | undefined): ServerResponse {
    if (this.#state === 'open') this.#decideByWhole(chunk, encoding, callback)
    else if (this.#state === 'deciding') this.#waiting.push(() => void this.#end(chunk, encoding, callback))
    else if (this.#state === 'through') this.#endStream(chunk, encoding, callback)
    return this.#response
  }

  #flushHeaders(): void {
    if (this.#state === 'open') this.#decideByHead()
    if (this.#state === 'through') this.#original.flushHeaders.call(this.#response)
    else if (this.#state === 'deciding') this.#waiting.push(() => this.#flushHeaders())
  }

  #close(): void {
    this.#capture?.abort()
    this.#ending.abandon()
  }

  #decideByWhole(chunk: Chunk | Done | null | undefined, encoding: Encoding, callback: Done | undefined): void {
    const head = headOf(this.#response)
    const { statusMessage } = this.#response
    // A copy: a handler may use its buffer again when Node has taken the bytes.
    const body = isChunk(chunk) ? Buffer.from(bytesOf(chunk, encoding)) : NOTHING
    this.#state = 'answered'
    this.#decide(
      () => this.#ending.whole(head, body, this.#ambient()),
      (sent, late) => {
        this.#pass()
        this.#setStatus(sent.status, sent.status === head.status ? statusMessage : '')
        if (sent.body !== body) return this.#endWith(sent, doneOf(chunk, encoding, callback))
        this.#changeFields(head.headers, sent.headers, late)
        moveLengthLast(this.#response)
        this.#original.end.call(this.#response, chunk, encoding, callback)
      },
    )
  }

  #decideByHead(): void {
    const head = headOf(this.#response)
    this.#state = 'deciding'
    this.#decide(
      () => this.#ending.streamed(head, this.#ambient()),
      ({ instead, headers, capture }, late) => {
        if (instead !== undefined) return this.#answerInstead(instead)
        this.#changeFields(head.headers, headers, late)
        this.#capture = capture
        this.#pass()
      },
    )
  }

  /** What the handler still writes goes nowhere; a pipe into the response ends with the response. */
  #answerInstead(instead: OutgoingResponse): void {
    this.#waiting = []
    this.#restore()
    this.#setStatus(instead.status, '')
    this.#endWith(instead, undefined)
    this.#state = 'answered'
    Object.assign(this.#response, this.#own)
  }

  #endWith({ status, headers, body }: Omit<OutgoingResponse, 'memo'>, callback: Done | undefined): void {
    replaceFields(this.#response, headers, this.#ambient())
    if (status === 304) removeFields(this.#response, BODY_FIELDS)
    else if (body !== null) this.#response.setHeader('Content-Length', body.length)
    this.#original.end.call(this.#response, body, callback)
  }

  /** `late`: the handler went on in the meantime. */
  #decide<T>(ask: () => MaybePromise<T>, act: (decided: T, late: boolean) => void): void {
    let decided: MaybePromise<T>
    try {
      decided = ask()
    } catch (error) {
      return this.#fail(error)
    }
    if (!isPromise(decided)) return act(decided, false)
    decided.then((value) => act(value, true)).catch((error: unknown) => this.#fail(error))
  }

  #changeFields(before: HeaderList, after: HeaderList, late: boolean): void {
    if (late && !areEqual(listFields(this.#response), before)) replaceFields(this.#response, after, NONE)
    else changeFields(this.#response, before, after, late ? NONE : this.#ambient())
  }

  /** HTTP/2 has no reason phrase, and warns of one. */
  #setStatus(status: number, message: string): void {
    this.#response.statusCode = status
    if (this.#response.req.httpVersionMajor < 2) this.#response.statusMessage = message
  }

  #ambient(): ReadonlySet<string> {
    return unchangedFields(this.#response, this.#ending.ambient)
  }

  #endStream(chunk: Chunk | Done | null | undefined, encoding: Encoding, callback: Done | undefined): void {
    const capture = this.#capture
    this.#capture = undefined
    if (capture !== undefined && isChunk(chunk)) capture.write(bytesOf(chunk, encoding))
    const end = (): void => {
      this.#restore()
      this.#original.end.call(this.#response, chunk, encoding, callback)
    }
    const stored = capture?.complete()
    if (isPromise(stored)) stored.then(end, end)
    else end()
  }

  #pass(): void {
    this.#state = 'through'
    if (this.#capture === undefined) this.#restore()
    const waiting = this.#waiting
    this.#waiting = []
    for (const act of waiting) act()
    // Writers that were told to wait are told when to go on; where Node's own buffer is full, Node does.
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

  /** Functions that others have put over ours stay; they call ours, which pass everything on. */
  #restore(): void {
    const methods = this.#response as Methods
    for (const name of METHODS) {
      if (methods[name] === this.#own[name]) Object.assign(methods, { [name]: this.#original[name] })
    }
  }
}

/** From here on, what is written to a response is decided about by its ending. */
export function intercept(response: ServerResponse, ending: Ending, failed: (error: unknown) => void): void {
  new Interception(response, ending, failed).begin()
}

const NOTHING = Buffer.alloc(0)

const NONE: ReadonlySet<string> = new Set()

function headOf(response: ServerResponse): ResponseHead {
  return { status: response.statusCode, headers: listFields(response) }
}

function areEqual(a: HeaderList, b: HeaderList): boolean {
  return a.length === b.length && a.every((text, index) => text === b[index])
}

/** An entry has no Content-Length of its own, so a hit sends it last; so does a miss, to be the same. */
function moveLengthLast(response: ServerResponse): void {
  const length = response.getHeader('content-length')
  if (length === undefined) return
  response.removeHeader('content-length')
  response.setHeader('Content-Length', length)
}

/** As `writeHead` of Node, with its three forms of fields, but without sending. */
function setHead(response: ServerResponse, args: Parameters<WriteHead>): void {
  const [status, reason, third]: readonly unknown[] = args
  const fields = typeof reason === 'string' ? third : reason
  response.statusCode = Number(status)
  if (typeof reason === 'string') response.statusMessage = reason
  if (Array.isArray(fields)) setLines(response, Array.isArray(fields[0]) ? fields.flat() : fields)
  else
    for (const [name, value] of Object.entries((fields ?? {}) as OutgoingHttpHeaders)) setValue(response, name, value)
}

function setValue(response: ServerResponse, name: string, value: OutgoingHttpHeader | undefined): void {
  if (value !== undefined) response.setHeader(name, value)
}

/** A list may name a field several times; it overrides what was set before. */
function setLines(response: ServerResponse, list: readonly unknown[]): void {
  for (let index = 0; index < list.length; index += 2) response.removeHeader(String(list[index]))
  for (let index = 0; index < list.length; index += 2) {
    response.appendHeader(String(list[index]), String(list[index + 1]))
  }
}

function isChunk(chunk: unknown): chunk is Chunk {
  return typeof chunk === 'string' || chunk instanceof Uint8Array
}

function bytesOf(chunk: Chunk, encoding: Encoding): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : chunk
}

/** The callback among the arguments of `end`. */
function doneOf(...args: unknown[]): Done | undefined {
  return args.find((one): one is Done => typeof one === 'function')
}
