import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { redisCli } from './redis-cluster.js'
import { RedisServer, freePort, startRedis } from './redis-server.js'

/** How soon a sentinel takes the master for dead. */
const DOWN_AFTER_MS = 500

export interface SentinelOptions {
  /** Of the master and its replica. */
  readonly password?: string
  /** Of the sentinels themselves. */
  readonly sentinelPassword?: string
}

/** A master with one replica, and three sentinels that watch them. */
export class SentinelTrio {
  readonly servers: readonly [RedisServer, RedisServer]
  readonly sentinels: readonly RedisServer[]
  readonly #options: SentinelOptions

  private constructor(
    servers: readonly [RedisServer, RedisServer],
    sentinels: readonly RedisServer[],
    options: SentinelOptions,
  ) {
    this.servers = servers
    this.sentinels = sentinels
    this.#options = options
  }

  static async start(options: SentinelOptions = {}): Promise<SentinelTrio> {
    const { password } = options
    const auth = password === undefined ? [] : ['--requirepass', password, '--masterauth', password]
    const master = await startRedis({ args: [...auth, '--repl-diskless-sync-delay', '0'] })
    const replica = await startRedis({
      args: [...auth, '--repl-diskless-sync-delay', '0', '--replicaof', '127.0.0.1', String(master.port)],
    })
    const sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(master.port, options)))
    const trio = new SentinelTrio([master, replica], sentinels, options)
    await trio.settled()
    return trio
  }

  get nodes(): readonly string[] {
    return this.sentinels.map(({ port }) => `127.0.0.1:${port}`)
  }

  /** The server that the sentinels call master. */
  async master(): Promise<RedisServer> {
    const answer = await this.#askSentinel('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'mymaster')
    const port = Number(answer.trim().split('\n')[1])
    return this.servers.find((server) => server.port === port) as RedisServer
  }

  failover(): Promise<string> {
    return this.#askSentinel('SENTINEL', 'FAILOVER', 'mymaster')
  }

  async close(): Promise<void> {
    await Promise.all([...this.sentinels, ...this.servers].map((server) => server.close()))
  }

  #askSentinel(...command: string[]): Promise<string> {
    const [sentinel] = this.sentinels
    return redisCli(...authArgs(this.#options.sentinelPassword), '-p', String(sentinel?.port), ...command)
  }

  /** Every sentinel knows the others and the replica: only then can they fail over. */
  async settled(): Promise<void> {
    for (const { port } of this.sentinels) {
      for (;;) {
        const info = await redisCli(...authArgs(this.#options.sentinelPassword), '-p', String(port), 'INFO', 'sentinel')
        if (/status=ok,.*slaves=1,sentinels=3/.test(info)) break
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }
}

function authArgs(password: string | undefined): string[] {
  return password === undefined ? [] : ['--no-auth-warning', '-a', password]
}

async function startSentinel(masterPort: number, options: SentinelOptions): Promise<RedisServer> {
  const server = new RedisServer(await freePort(), { program: 'sentinel' })
  const lines = [
    `port ${server.port}`,
    'bind 127.0.0.1',
    `dir ${server.dir}`,
    `sentinel monitor mymaster 127.0.0.1 ${masterPort} 2`,
    `sentinel down-after-milliseconds mymaster ${DOWN_AFTER_MS}`,
    'sentinel failover-timeout mymaster 3000',
    ...(options.password === undefined ? [] : [`sentinel auth-pass mymaster ${options.password}`]),
    ...(options.sentinelPassword === undefined
      ? []
      : [`requirepass ${options.sentinelPassword}`, `sentinel sentinel-pass ${options.sentinelPassword}`]),
  ]
  writeFileSync(join(server.dir, 'sentinel.conf'), `${lines.join('\n')}\n`)
  await server.start()
  return server
}
