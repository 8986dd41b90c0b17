import { describe, test } from 'vitest'
import { redisCli } from '../support/redis-cluster.js'
import { type RedisServer, type RedisServerOptions, startRedis } from '../support/redis-server.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import { type AtEnd, problemsIn, Traffic } from './traffic.js'

interface Place {
  readonly server: RedisServer
  readonly proxy: TcpProxy
  readonly traffic: Traffic
  readonly cli: (...command: string[]) => Promise<string>
}

interface Fault {
  readonly name: string
  readonly server?: RedisServerOptions
  /** What happens to Redis. Requests go on meanwhile. */
  readonly happens: (place: Place) => Promise<unknown>
  /** What the operator does about it; nothing where it passes by itself. */
  readonly ends?: (place: Place) => Promise<unknown>
  /** Whether the cache is expected to be of no use in between. */
  readonly away: boolean
}

const FAULTS: readonly Fault[] = [
  {
    name: 'SIGSTOP: the server hangs',
    happens: async ({ server }) => server.pause(),
    ends: async ({ server }) => server.resume(),
    away: true,
  },
  {
    name: 'SIGKILL, and started again without its data',
    happens: ({ server }) => server.kill(),
    ends: ({ server }) => server.start(),
    away: true,
  },
  {
    name: 'SIGKILL, and started again with all of its data',
    server: { persistent: true },
    happens: ({ server }) => server.kill(),
    ends: ({ server }) => server.start(),
    away: true,
  },
  {
    name: 'SIGKILL, and started again with data of a while ago',
    happens: async ({ server, cli, traffic }) => {
      await cli('SAVE')
      await traffic.more(300)
      await server.kill()
    },
    ends: ({ server }) => server.start(),
    away: true,
  },
  {
    name: 'a slow start: LOADING',
    server: { args: ['--key-load-delay', '20000', '--loading-process-events-interval-bytes', '1024'] },
    happens: async ({ server, cli }) => {
      await cli('SAVE')
      await server.kill()
      void server.start()
    },
    away: true,
  },
  {
    name: 'CLIENT KILL, again and again',
    happens: async ({ cli, traffic }) => {
      for (let round = 0; round < 10; round += 1) {
        await cli('CLIENT', 'KILL', 'TYPE', 'normal')
        await cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
        await traffic.more(20)
      }
    },
    away: false,
  },
  {
    name: 'CLIENT PAUSE of everything',
    happens: ({ cli }) => cli('CLIENT', 'PAUSE', '800', 'ALL'),
    away: true,
  },
  {
    name: 'CLIENT PAUSE of writes',
    happens: ({ cli }) => cli('CLIENT', 'PAUSE', '800', 'WRITE'),
    away: true,
  },
  {
    name: 'maxmemory reached with noeviction',
    happens: ({ cli }) => cli('CONFIG', 'SET', 'maxmemory', '1'),
    ends: ({ cli }) => cli('CONFIG', 'SET', 'maxmemory', '0'),
    away: true,
  },
  {
    name: 'every reply is late',
    happens: async ({ proxy }) => proxy.slow(200),
    ends: async ({ proxy }) => proxy.restore(),
    away: true,
  },
  {
    name: 'connections are cut, again and again',
    happens: async ({ proxy, traffic }) => {
      for (let round = 0; round < 10; round += 1) {
        proxy.cut()
        await traffic.more(20)
      }
    },
    away: false,
  },
  {
    name: 'half-open connections: nothing arrives, and nobody is told',
    happens: async ({ proxy }) => proxy.silence(),
    ends: async ({ proxy }) => proxy.restore(),
    away: true,
  },
  {
    name: 'a password that is no longer right',
    happens: async ({ cli, proxy }) => {
      await cli('CONFIG', 'SET', 'requirepass', 'another')
      proxy.cut()
    },
    ends: ({ server }) => redisCli('-a', 'another', '-p', String(server.port), 'CONFIG', 'SET', 'requirepass', ''),
    away: true,
  },
  {
    name: 'READONLY: the server has become a replica',
    happens: ({ cli, server }) => cli('REPLICAOF', '127.0.0.1', String(server.port)),
    ends: ({ cli }) => cli('REPLICAOF', 'NO', 'ONE'),
    away: true,
  },
  {
    name: 'FLUSHALL and SCRIPT FLUSH',
    happens: async ({ cli, traffic }) => {
      for (let round = 0; round < 5; round += 1) {
        await cli('FLUSHALL')
        await cli('SCRIPT', 'FLUSH')
        await traffic.more(20)
      }
    },
    away: false,
  },
]

async function setUp(atEnd: AtEnd, options?: RedisServerOptions, trustRestarts = false): Promise<Place> {
  const server = await startRedis(options)
  atEnd(() => server.close())
  const proxy = await TcpProxy.to(server.port)
  atEnd(() => proxy.close())
  const settings = { url: proxy.url, socketTimeout: '600ms', connectTimeout: '600ms', trustRestarts } as const
  const traffic = await Traffic.start(settings, atEnd)
  await traffic.cached()
  return { server, proxy, traffic, cli: (...command) => redisCli('-p', String(server.port), ...command) }
}

describe.concurrent('under each fault no request fails, no answer is old, and the cache comes back', () => {
  test.for(FAULTS.map((fault) => [fault.name, fault] as const))(
    '%s',
    { timeout: 60_000 },
    async ([, fault], { expect, onTestFinished }) => {
      const { server, happens, ends, away } = fault
      const place = await setUp(onTestFinished, server)
      const { traffic } = place
      await happens(place)
      if (away) {
        const { app } = traffic.services[0] as (typeof traffic.services)[number]
        await traffic.more(200)
        if (ends !== undefined) expect(await isHit(app)).toBe(false)
      }
      await ends?.(place)
      await traffic.cached()
      const findings = await traffic.stop()
      expect(problemsIn(findings)).toEqual([])
      for (const { lines } of traffic.services) expect(lines.filter((line) => line.startsWith('error'))).toEqual([])
    },
  )
})

async function isHit(app: Traffic['services'][number]['app']): Promise<boolean> {
  await app.inject('/probe')
  const second = await app.inject('/probe')
  return second.headers['x-redis-cache'] === 'HIT'
}

test(
  'believed, old data of a restarted server is served: the check above is one',
  { timeout: 60_000 },
  async ({ expect, onTestFinished }) => {
    const { server, cli, traffic } = await setUp(onTestFinished, undefined, true)
    await cli('SAVE')
    await traffic.more(300)
    await server.kill()
    await server.start()
    await traffic.cached()
    expect((await traffic.stop()).stale).toBeGreaterThan(0)
  },
)
