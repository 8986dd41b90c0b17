// The load generator: sends prepared requests over keep-alive connections for a while, and counts.
import { HttpConnection, type Seen } from '../harness/connection.js'
import { serve } from '../harness/rpc.js'
import { quantile } from '../harness/stats.js'

/** Requests sent one after the other, again from the start; or one text in which `{n}` is a new number each time. */
export interface Prepared {
  readonly port: number
  readonly connections: number
  readonly requests?: readonly string[]
  readonly unique?: string
}

export interface Round {
  readonly answers: number
  readonly ms: number
  readonly hits: number
  readonly statuses: Readonly<Record<string, number>>
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface Until {
  readonly ms?: number
  readonly count?: number
  readonly perSecond?: number
}

export interface Burst {
  readonly ports: readonly number[]
  readonly perPort: number
  readonly request: string
}

class Load {
  readonly #connections: HttpConnection[] = []
  readonly #prepared: Prepared
  #sent = 0

  constructor(prepared: Prepared) {
    this.#prepared = prepared
  }

  async open(): Promise<void> {
    while (this.#connections.length < this.#prepared.connections) {
      this.#connections.push(await HttpConnection.open(this.#prepared.port))
    }
  }

  #next(): string {
    const { requests, unique = '' } = this.#prepared
    const n = this.#sent++
    return requests?.[n % requests.length] ?? unique.replace('{n}', String(n))
  }

  /**
   * For so many milliseconds, or until so many requests were answered: as fast as they are, or so many a second, each
   * connection in its turn.
   */
  async run({ ms = Infinity, count = Infinity, perSecond }: Until): Promise<Round> {
    const tally = new Tally()
    const startedAt = performance.now()
    const last = this.#sent + count
    const everyMs = perSecond === undefined ? 0 : (1000 / perSecond) * this.#connections.length
    const drive = async (connection: HttpConnection, index: number): Promise<void> => {
      let dueAt = startedAt + (everyMs * index) / this.#connections.length
      while (performance.now() - startedAt < ms && this.#sent < last) {
        if (everyMs > 0) await instant(dueAt)
        dueAt += everyMs
        const sentAt = performance.now()
        const seen = await connection.request(this.#next())
        tally.add(seen, performance.now() - sentAt)
      }
    }
    await Promise.all(this.#connections.map(drive))
    return tally.round(performance.now() - startedAt)
  }
}

function instant(dueAt: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, dueAt - performance.now()))
}

class Tally {
  readonly #latencies: number[] = []
  readonly #statuses: Record<string, number> = {}
  #hits = 0

  add({ status, hit }: Seen, ms: number): void {
    this.#latencies.push(ms)
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1
    if (hit) this.#hits++
  }

  round(ms: number): Round {
    const latencies = this.#latencies
    return {
      answers: latencies.length,
      ms,
      hits: this.#hits,
      statuses: this.#statuses,
      p50Ms: quantile(latencies, 0.5),
      p99Ms: quantile(latencies, 0.99),
    }
  }
}

/** One request on every connection at once. */
async function burst({ ports, perPort, request }: Burst): Promise<Round> {
  const connections: HttpConnection[] = []
  for (const port of ports) {
    for (let n = 0; n < perPort; n++) connections.push(await HttpConnection.open(port))
  }
  const tally = new Tally()
  const startedAt = performance.now()
  await Promise.all(
    connections.map(async (connection) => {
      const sentAt = performance.now()
      tally.add(await connection.request(request), performance.now() - sentAt)
    }),
  )
  const round = tally.round(performance.now() - startedAt)
  for (const connection of connections) connection.close()
  return round
}

/** The answers' heads, one request after the other. */
async function heads({ port, requests }: { port: number; requests: readonly string[] }): Promise<string[]> {
  const connection = await HttpConnection.open(port)
  const found: string[] = []
  for (const request of requests) found.push((await connection.request(request)).head)
  connection.close()
  return found
}

const loads: Load[] = []

serve({
  async prepare(prepared: Prepared) {
    const load = new Load(prepared)
    await load.open()
    return loads.push(load) - 1
  },
  run: ({ handle, ...until }: { handle: number } & Until) => loads[handle]?.run(until),
  burst,
  heads,
})
