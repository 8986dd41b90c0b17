import { redisCli } from '../support/redis-cluster.js'
import type { RedisServer, RedisServerOptions } from '../support/redis-server.js'
import type { TcpProxy } from '../support/tcp-proxy.js'

export interface Place {
  readonly server: RedisServer
  readonly proxy: TcpProxy
  /** Requests that go on meanwhile. */
  readonly traffic: { more(count: number): Promise<void> }
  readonly cli: (...command: string[]) => Promise<string>
}

export interface Fault {
  readonly name: string
  readonly server?: RedisServerOptions
  /** What happens to Redis. Requests go on meanwhile. */
  readonly happens: (place: Place) => Promise<unknown>
  /** What the operator does about it; nothing where it passes by itself. */
  readonly ends?: (place: Place) => Promise<unknown>
  /** Whether the cache is expected to be of no use in between. */
  readonly away: boolean
  /** What the operator reads of it. */
  readonly says?: RegExp
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'SIGSTOP: the server hangs',
    happens: async ({ server }) => server.pause(),
    ends: async ({ server }) => server.resume(),
    away: true,
    says: /does not answer in time/,
  },
  {
    name: 'SIGKILL, and started again without its data',
    happens: ({ server }) => server.kill(),
    ends: ({ server }) => server.start(),
    away: true,
    says: /is unavailable/,
  },
  {
    name: 'SIGKILL, and started again with all of its data',
    server: { persistent: true },
    happens: ({ server }) => server.kill(),
    ends: ({ server }) => server.start(),
    away: true,
    says: /is unavailable/,
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
    says: /is unavailable/,
  },
  {
    name: 'a slow start: LOADING',
    server: { args: ['--key-load-delay', '60000', '--loading-process-events-interval-bytes', '1024'] },
    happens: async ({ server, cli }) => {
      await cli('SAVE')
      await server.kill()
      void server.start()
    },
    away: true,
    says: /loading its data/,
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
    says: /does not answer in time/,
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
    says: /does not answer in time/,
  },
  {
    name: 'a password that is no longer right',
    happens: async ({ cli, proxy }) => {
      await cli('CONFIG', 'SET', 'requirepass', 'another')
      proxy.cut()
    },
    ends: ({ server }) => redisCli('-a', 'another', '-p', String(server.port), 'CONFIG', 'SET', 'requirepass', ''),
    away: true,
    says: /WRONGPASS|NOAUTH/,
  },
  {
    name: 'READONLY: the server has become a replica',
    happens: ({ cli, server }) => cli('REPLICAOF', '127.0.0.1', String(server.port)),
    ends: ({ cli }) => cli('REPLICAOF', 'NO', 'ONE'),
    away: true,
    says: /READONLY|it is a replica/,
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
