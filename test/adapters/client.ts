import { once } from 'node:events'
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { connect, constants, type IncomingHttpHeaders } from 'node:http2'
import type { Duplex, Readable, Writable } from 'node:stream'

/** What a host speaks: HTTP/1.1, or HTTP/2 in clear text or over TLS. */
export type Protocol = 'http/1.1' | 'h2c' | 'h2'

/**
 * After this a server closes an HTTP/2 session on which nothing happens, and refuses the streams that are under way to it
 * (RFC 9113 section 6.8). Longer than a test holds a handler, or a busy machine keeps a client from its first request.
 */
export const HTTP2_IDLE_MS = 15_000

/** The head of a response, and its body as a stream. */
type Message = Pick<IncomingMessage, 'statusCode' | 'headers' | 'rawHeaders'> & Readable

export interface Ask {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** Sent as JSON. */
  readonly json?: unknown
}

export interface Reply {
  readonly status: number
  /** X-Redis-Cache. */
  readonly cache: string | undefined
  readonly text: string
  readonly bytes: Buffer
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Name and value of each line, names in lower case. */
  readonly lines: readonly (readonly [string, string])[]
}

/** A response whose body is still on its way. */
export interface Opened {
  readonly message: Message
  /** The next piece of the body; undefined at its end. */
  next(): Promise<string | undefined>
  /** The client goes away. */
  abort(): void
}

/** An HTTP client without manners of its own: fetch would add Cache-Control to conditional requests. */
export class Client {
  readonly #port: number
  readonly #protocol: Protocol

  constructor(port: number, protocol: Protocol = 'http/1.1') {
    this.#port = port
    this.#protocol = protocol
  }

  async ask(path: string, ask: Ask = {}): Promise<Reply> {
    const message = await this.#answerTo(this.send(path, ask))
    const chunks: Buffer[] = []
    for await (const chunk of message) chunks.push(chunk as Buffer)
    return toReply(message, Buffer.concat(chunks))
  }

  get(path: string, headers: Ask['headers'] = {}): Promise<Reply> {
    return this.ask(path, { headers })
  }

  async open(path: string, headers: Ask['headers'] = {}, method = 'GET'): Promise<Opened> {
    const request = this.send(path, { headers, method })
    const message = await this.#answerTo(request)
    const chunks = message[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    return {
      message,
      async next() {
        const { done, value } = await chunks.next()
        return done === true ? undefined : value.toString()
      },
      abort() {
        message.on('error', () => {})
        request.destroy()
      },
    }
  }

  /** A request under way, on a connection of its own. */
  send(path: string, { method = 'GET', headers = {}, json }: Ask): Writable {
    const body = json === undefined ? undefined : JSON.stringify(json)
    const own = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }
    const fields = { ...headers, ...own } as Record<string, string | string[]>
    const request =
      this.#protocol === 'http/1.1'
        ? httpRequest({ host: '127.0.0.1', port: this.#port, method, path, headers: fields, agent: false })
        : this.#sendByHttp2(path, method, fields)
    request.end(body)
    return request
  }

  async #answerTo(request: Writable): Promise<Message> {
    const [message] = (await once(request, this.#protocol === 'http/1.1' ? 'response' : 'head')) as [Message]
    return message
  }

  #sendByHttp2(path: string, method: string, { host, ...fields }: Record<string, string | string[]>): Duplex {
    const scheme = this.#protocol === 'h2' ? 'https' : 'http'
    const authority = `127.0.0.1:${this.#port}`
    const session = connect(`${scheme}://${authority}`, { rejectUnauthorized: false })
    const pseudo = { ':path': path, ':method': method, ':scheme': scheme, ':authority': String(host ?? authority) }
    const stream = session.request({ ...pseudo, ...fields }, { endStream: false })
    session.on('error', (error) => stream.destroy(error))
    stream.on('close', () => session.destroy())
    stream.on('response', (received: IncomingHttpHeaders, _: number, raw: string[]) => {
      const isPlain = (index: number): boolean => raw[index - (index % 2)]?.startsWith(':') !== true
      const rawHeaders = raw.filter((_text, index) => isPlain(index))
      stream.emit('head', Object.assign(stream, { statusCode: received[':status'], headers: received, rawHeaders }))
    })
    // A body that ends before its announced length is a reset without an error of the stream.
    stream.on('end', () => {
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) stream.destroy(new Error('aborted'))
    })
    return stream
  }
}

function toReply(message: Message, bytes: Buffer): Reply {
  const { rawHeaders } = message
  const lines: [string, string][] = []
  for (let index = 0; index < rawHeaders.length; index += 2)
    lines.push([(rawHeaders[index] as string).toLowerCase(), rawHeaders[index + 1] as string])
  const headers: Record<string, string | undefined> = {}
  for (const [name, value] of lines) headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  return {
    status: message.statusCode ?? 0,
    cache: headers['x-redis-cache'],
    text: bytes.toString(),
    bytes,
    headers,
    lines,
  }
}
