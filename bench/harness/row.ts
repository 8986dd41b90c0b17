import type { FastifyInstance } from 'fastify'
import type { Bench } from './bench.js'
import type { Spread } from './stats.js'

/** What a variant is started with. */
export interface Params {
  readonly redisUrl: string
  /** Header lines of the answer it is compared with, for the variant that imitates it. */
  readonly headers?: Readonly<Record<string, string>>
  readonly [name: string]: unknown
}

/** A variant that runs: a server on a port, or something to be run in a loop; and questions it may answer. */
export interface Running {
  readonly port?: number
  run?(ms: number): Promise<Loop>
  answer?(question: unknown): unknown
}

export interface Loop {
  readonly operations: number
  readonly ms: number
}

export type Subject = (params: Params) => Promise<Running>

/** One line of the results. */
export interface Outcome {
  readonly id: string
  readonly what: string
  /** Ratio of requests per second; over 1 is better than the baseline. */
  readonly rate?: Spread
  /** Ratio of CPU time per request; over 1 is better than the baseline. */
  readonly cpu?: Spread
  /** What collections of garbage cost, in words. */
  readonly gc?: string
  /** The figures themselves, in words. */
  readonly figures: string
  readonly target: string
  readonly met: 'yes' | 'no' | 'by CPU' | 'by rate'
}

/** One row of the budgets (or several that share their servers), in a file of its own. */
export interface Row {
  readonly id: string
  /** Part of the set that CI compares with the committed results: quick, and steady enough to tell a slower change. */
  readonly short?: true
  readonly subjects?: Readonly<Record<string, Subject>>
  run(bench: Bench): Promise<Outcome[]>
}

/** Listens on a free port of the loopback. */
export async function listen(app: FastifyInstance, more: Omit<Running, 'port'> = {}): Promise<Running> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { port: address.port, ...more }
}
