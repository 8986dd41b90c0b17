import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A line between a client and a server that a test can slow, silence and cut. */
export class TcpProxy {
  readonly port: number
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #target: number
  #delayMs = 0
  #silent = false

  private constructor(server: Server, target: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    this.#target = target
    server.on('connection', (near) => this.#join(near))
  }

  static async to(port: number): Promise<TcpProxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new TcpProxy(server, port)
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  get connections(): number {
    return this.#pairs.size
  }

  /** New connections lead to another server, as when an address is given to the next machine. */
  leadTo(port: number): this {
    this.#target = port
    return this
  }

  /** Every answer comes this much later. */
  slow(delayMs: number): this {
    this.#delayMs = delayMs
    return this
  }

  /** Nothing arrives any more in either direction, and nobody is told: a firewall that drops, a machine that vanished. */
  silence(): this {
    this.#silent = true
    return this
  }

  /** Passes on again. What was dropped stays lost, so connections from before are of no use to anybody. */
  restore(): this {
    this.#silent = false
    this.#delayMs = 0
    return this
  }

  /** Ends every connection at once, with a reset. */
  cut(): this {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy()
      far.destroy()
    }
    return this
  }

  async close(): Promise<void> {
    this.#server.close()
    this.cut()
    await once(this.#server, 'close')
  }

  #join(near: Socket): void {
    const far = connect(this.#target, '127.0.0.1')
    const pair = [near, far] as const
    this.#pairs.add(pair)
    near.on('data', (chunk) => this.#silent || far.write(chunk))
    far.on('data', (chunk) => this.#pass(chunk, near))
    for (const [socket, other] of [pair, [far, near] as const]) {
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.once('close', () => {
        this.#pairs.delete(pair)
        // A vanished machine does not say goodbye.
        if (!this.#silent) other.destroy()
      })
    }
  }

  #pass(chunk: Buffer, near: Socket): void {
    if (this.#silent) return
    if (this.#delayMs === 0) near.write(chunk)
    else setTimeout(() => near.destroyed || near.write(chunk), this.#delayMs)
  }
}
