import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** What one answer was, as far as the load generator looks at it. */
export interface Seen {
  readonly status: number
  readonly hit: boolean
  readonly head: string
}

const HEAD_END = '\r\n\r\n'

/** The last chunk of a body that comes in chunks, without trailers. */
const LAST_CHUNK = '0\r\n\r\n'

/** One keep-alive HTTP/1.1 connection with one request in flight: far cheaper than what it measures. */
export class HttpConnection {
  readonly #socket: Socket
  #pending: Buffer | undefined
  #bodyLeft = 0
  #seen: Seen | undefined
  #done: ((seen: Seen) => void) | undefined
  #failed: ((error: Error) => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#take(chunk))
    socket.on('error', (error) => this.#failed?.(error))
    socket.on('close', () => this.#failed?.(new Error('the server closed the connection')))
  }

  static async open(port: number): Promise<HttpConnection> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new HttpConnection(socket)
  }

  request(text: string): Promise<Seen> {
    return new Promise((resolve, reject) => {
      this.#done = resolve
      this.#failed = reject
      this.#socket.write(text, 'latin1')
    })
  }

  close(): void {
    this.#failed = undefined
    this.#socket.destroy()
  }

  #take(chunk: Buffer): void {
    if (this.#seen !== undefined) {
      this.#bodyLeft -= chunk.length
      // A body that has no length. The bytes before may be in another read, which the bench's bodies of JSON do not need.
      if (this.#bodyLeft === Infinity && endsWith(chunk, LAST_CHUNK)) this.#bodyLeft = 0
    } else {
      const bytes = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk])
      const end = bytes.indexOf(HEAD_END)
      if (end === -1) {
        this.#pending = bytes
        return
      }
      this.#pending = undefined
      const head = bytes.toString('latin1', 0, end)
      this.#seen = { status: Number(head.slice(9, 12)), hit: /x-redis-cache: HIT/i.test(head), head }
      this.#bodyLeft = bodyLength(this.#seen) - (bytes.length - end - HEAD_END.length)
      if (this.#bodyLeft === Infinity && endsWith(bytes, LAST_CHUNK)) this.#bodyLeft = 0
    }
    if (this.#bodyLeft <= 0) this.#finish()
  }

  #finish(): void {
    const seen = this.#seen
    this.#seen = undefined
    if (seen !== undefined) this.#done?.(seen)
  }
}

function endsWith(bytes: Buffer, text: string): boolean {
  return bytes.toString('latin1', bytes.length - text.length) === text
}

function bodyLength({ status, head }: Seen): number {
  if (status === 204 || status === 304) return 0
  if (/^transfer-encoding: chunked\r?$/im.test(head)) return Infinity
  const length = /content-length: (\d+)/i.exec(head)?.[1]
  if (length === undefined) throw new Error(`an answer without content-length:\n${head}`)
  return Number(length)
}
