import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'

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
  readonly message: IncomingMessage
  /** The next piece of the body; undefined at its end. */
  next(): Promise<string | undefined>
  /** The client goes away. */
  abort(): void
}

/** An HTTP client without manners of its own: fetch would add Cache-Control to conditional requests. */
export class Client {
  readonly #port: number

  constructor(port: number) {
    this.#port = port
  }

  async ask(path: string, ask: Ask = {}): Promise<Reply> {
    const request = this.send(path, ask)
    const [message] = (await once(request, 'response')) as [IncomingMessage]
    const chunks: Buffer[] = []
    for await (const chunk of message) chunks.push(chunk as Buffer)
    return toReply(message, Buffer.concat(chunks))
  }

  get(path: string, headers: Ask['headers'] = {}): Promise<Reply> {
    return this.ask(path, { headers })
  }

  async open(path: string, headers: Ask['headers'] = {}): Promise<Opened> {
    const request = this.send(path, { headers })
    const [message] = (await once(request, 'response')) as [IncomingMessage]
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

  /** A request under way. */
  send(path: string, { method = 'GET', headers = {}, json }: Ask): ClientRequest {
    const body = json === undefined ? undefined : JSON.stringify(json)
    const own = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }
    const request = httpRequest({
      host: '127.0.0.1',
      port: this.#port,
      method,
      path,
      headers: { ...headers, ...own } as Record<string, string | string[]>,
      agent: false,
    })
    request.end(body)
    return request
  }
}

function toReply(message: IncomingMessage, bytes: Buffer): Reply {
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
