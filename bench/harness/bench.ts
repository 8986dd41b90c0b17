import { type RedisServer, startRedis } from '../../test/support/redis-server.js'
import type { Burst, Prepared, Round } from '../processes/load.js'
import { tunedClient, type TunedClient } from './client.js'
import type { Loop, Params } from './row.js'
import { type Collected, Remote } from './rpc.js'

const LOAD = new URL('../processes/load.ts', import.meta.url)
const SUBJECT = new URL('../processes/subject.ts', import.meta.url)
const PROXY = new URL('../processes/latency-proxy.ts', import.meta.url)

export interface BenchOptions {
  /** Pairs of measurements, A B A B. */
  readonly rounds: number
  readonly roundMs: number
  /** Connections of the load generator, one request in flight on each. */
  readonly connections: number
  /** Whether rows leave out what takes them longest. */
  readonly short: boolean
}

/** A started variant. */
export interface Variant {
  readonly name: string
  readonly port: number
  readonly process: Remote
}

/** One measurement of one variant. */
export interface Sample {
  readonly answers: number
  readonly perSecond: number
  readonly cpuUs: number
  /** CPU of the row's Redis for each answer. */
  readonly redisUs: number
  /** What the process collected meanwhile. */
  readonly collected: Collected
  readonly round?: Round
}

/** How requests are sent: as fast as they are answered, or so many a second. */
export interface Pace {
  readonly perSecond?: number
}

/** The processes of one row: a Redis server, a load generator, and the variants. */
export class Bench {
  readonly options: BenchOptions
  readonly redis: RedisServer
  readonly #module: URL
  readonly #load: Remote
  readonly #processes: Remote[] = []
  readonly #servers: RedisServer[] = []
  #client: Promise<TunedClient> | undefined

  private constructor(module: URL, options: BenchOptions, redis: RedisServer) {
    this.#module = module
    this.options = options
    this.redis = redis
    this.#servers.push(redis)
    this.#load = this.#own(new Remote(LOAD))
  }

  static async open(module: URL, options: BenchOptions): Promise<Bench> {
    return new Bench(module, options, await startRedis())
  }

  async close(): Promise<void> {
    ;(await this.#client)?.destroy()
    await Promise.all(this.#processes.map((process) => process.close()))
    await Promise.all(this.#servers.map((server) => server.close()))
  }

  /** Starts a variant of the row in a process of its own. */
  async start(name: string, params: Partial<Params> = {}): Promise<Variant> {
    const process = this.#own(new Remote(SUBJECT, [this.#module.href, name]))
    const port = await process.call<number | undefined>('start', { redisUrl: this.redis.url, ...params })
    return { name, port: port ?? 0, process }
  }

  /** Takes everything out of the row's Redis: variants of several makers may use the same keys in other ways. */
  async flush(): Promise<void> {
    this.#client ??= tunedClient(this.redis.url)
    await (await this.#client).flushAll()
  }

  /** A further Redis server. */
  async anotherRedis(args: readonly string[] = []): Promise<RedisServer> {
    const server = await startRedis({ args })
    this.#servers.push(server)
    return server
  }

  /** The URL of the row's Redis, so many milliseconds farther away. */
  async fartherRedis(delayMs: number): Promise<string> {
    const proxy = this.#own(new Remote(PROXY))
    return `redis://127.0.0.1:${await proxy.call<number>('start', { port: this.redis.port, delayMs })}`
  }

  prepare(
    variant: Variant,
    what: Omit<Prepared, 'port' | 'connections'>,
    connections = this.options.connections,
  ): Promise<number> {
    return this.#load.call('prepare', { port: variant.port, connections, ...what } satisfies Prepared)
  }

  send(handle: number, until: { ms?: number; count?: number } & Pace): Promise<Round> {
    return this.#load.call('run', { handle, ...until })
  }

  burst(what: Burst): Promise<Round> {
    return this.#load.call('burst', what)
  }

  heads(variant: Variant, requests: readonly string[]): Promise<string[]> {
    return this.#load.call('heads', { port: variant.port, requests })
  }

  /** One round of HTTP against a variant, with the CPU time of its server and of Redis. */
  async httpSample(variant: Variant, handle: number, pace: Pace = {}): Promise<Sample> {
    const send = (): Promise<Round> => this.send(handle, { ms: this.options.roundMs, ...pace })
    const { result: round, ...used } = await this.#timed(variant, send)
    return sample(round.answers, round.ms, used, round)
  }

  /** One round of a variant that is a loop. */
  async loopSample(variant: Variant): Promise<Sample> {
    const run = (): Promise<Loop> => variant.process.call<Loop>('run', this.options.roundMs)
    const { result, ...used } = await this.#timed(variant, run)
    return sample(result.operations, result.ms, used)
  }

  async #timed<T>(variant: Variant, run: () => Promise<T>): Promise<{ result: T } & Used> {
    const used = (): Promise<[number, number]> => Promise.all([variant.process.call<number>('cpu'), this.#redisCpu()])
    const before = variant.process.collected
    const [cpu, redis] = await used()
    const result = await run()
    const [cpuAfter, redisAfter] = await used()
    const { promoted, full } = variant.process.collected
    const collected = { promoted: promoted - before.promoted, full: full - before.full }
    return { result, cpuUs: cpuAfter - cpu, redisUs: redisAfter - redis, collected }
  }

  /** Microseconds of CPU that the row's Redis has used, by its own account. */
  async #redisCpu(): Promise<number> {
    this.#client ??= tunedClient(this.redis.url)
    const info = await (await this.#client).info('cpu')
    const seconds = ['sys', 'user'].map((kind) => Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)?.[1]))
    return seconds.reduce((sum, part) => sum + part, 0) * 1e6
  }

  #own(process: Remote): Remote {
    this.#processes.push(process)
    return process
  }
}

interface Used {
  readonly cpuUs: number
  readonly redisUs: number
  readonly collected: Collected
}

function sample(answers: number, ms: number, { cpuUs, redisUs, collected }: Used, round?: Round): Sample {
  return {
    answers,
    collected,
    perSecond: (answers / ms) * 1000,
    cpuUs: cpuUs / answers,
    redisUs: redisUs / answers,
    ...(round && { round }),
  }
}
