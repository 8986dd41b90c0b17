// A TCP proxy that holds back what the client sends for an exact time: a Redis that is so much farther away.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { serve } from '../harness/rpc.js'

interface Held {
  readonly dueAt: number
  readonly chunk: Buffer
  readonly to: Socket
}

const held: Held[] = []
let spinning = false

// Timers are too coarse for one millisecond: the loop turns without rest while something is held.
function spin(): void {
  const now = performance.now()
  while (held[0] !== undefined && held[0].dueAt <= now) {
    const { chunk, to } = held.shift() as Held
    to.write(chunk)
  }
  spinning = held.length > 0
  if (spinning) setImmediate(spin)
}

function hold(chunk: Buffer, to: Socket, delayMs: number): void {
  held.push({ dueAt: performance.now() + delayMs, chunk, to })
  if (spinning) return
  spinning = true
  setImmediate(spin)
}

serve({
  async start({ port, delayMs }: { port: number; delayMs: number }) {
    const server = createServer((client) => {
      const upstream = connect(port, '127.0.0.1')
      for (const socket of [client, upstream]) socket.setNoDelay(true)
      client.on('data', (chunk) => hold(chunk, upstream, delayMs))
      upstream.on('data', (chunk) => client.write(chunk))
      client.on('close', () => upstream.destroy()).on('error', () => upstream.destroy())
      upstream.on('close', () => client.destroy()).on('error', () => client.destroy())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    return typeof address === 'object' ? address?.port : undefined
  },
})
