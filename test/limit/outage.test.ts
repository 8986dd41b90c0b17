import type { RedisClientType } from '@redis/client'
import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import Fastify, { type FastifyRequest } from 'fastify'
import fastifyRedwell from '../../src/adapters/fastify/index.js'
import { createRedis, type Redis, type RedisOptions } from '../../src/index.js'
import { replicated } from '../faults/fail-over.js'
import { silentLogger } from '../support/logger.js'
import { redisCli } from '../support/redis-cluster.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { TcpProxy } from '../support/tcp-proxy.js'

async function opened(options: RedisOptions = {}): Promise<{ server: RedisServer; redis: Redis }> {
  const server = await startRedis()
  onTestFinished(() => server.close())
  const redis = createRedis({ url: server.url, prefix: `test:${randomUUID()}`, logger: silentLogger, ...options })
  onTestFinished(() => redis.close())
  await redis.connect()
  return { server, redis }
}

function command(redis: Redis, ...args: string[]): Promise<unknown> {
  return (redis.client as RedisClientType).sendCommand(args)
}

/** Resolves when the handle has that status. */
function until(redis: Redis, wanted: Redis['status']): Promise<void> {
  if (redis.status === wanted) return Promise.resolve()
  return new Promise((resolve) => {
    const stop = redis.onStatus((status) => {
      if (status !== wanted) return
      stop()
      resolve()
    })
  })
}

/** A server behind an address that may be given to another, and a replica where a fault needs one. */
interface Bed {
  readonly primary: RedisServer
  readonly replica: RedisServer | undefined
  readonly address: TcpProxy
}

interface Fault {
  readonly begins: (bed: Bed) => unknown
  readonly ends: (bed: Bed) => unknown
  /** Redis cannot count while it lasts. Default true. */
  readonly isAway?: boolean
  /** What was counted before is forgotten. Default false. */
  readonly forgets?: boolean
  readonly hasReplica?: boolean
}

/** An attempt to listen that failed is not repeated for a second. */
const LISTENS = { timeout: 20_000 }

const cli = ({ port }: RedisServer, ...args: string[]): Promise<string> => redisCli('-p', String(port), ...args)

const FAULTS: Readonly<Record<string, Fault>> = {
  'is down': { begins: ({ primary }) => primary.kill(), ends: ({ primary }) => primary.start(), forgets: true },
  hangs: { begins: ({ primary }) => primary.pause(), ends: ({ primary }) => primary.resume() },
  'is full': {
    begins: ({ primary }) => cli(primary, 'CONFIG', 'SET', 'maxmemory', '1'),
    ends: ({ primary }) => cli(primary, 'CONFIG', 'SET', 'maxmemory', '0'),
  },
  'fails over to its replica': {
    begins: ({ primary }) => primary.kill(),
    async ends({ replica, address }) {
      if (replica === undefined) throw new Error('no replica')
      await cli(replica, 'REPLICAOF', 'NO', 'ONE')
      address.leadTo(replica.port).cut()
    },
    hasReplica: true,
  },
  'is made a replica': {
    begins: ({ primary }) => cli(primary, 'REPLICAOF', '127.0.0.1', '1'),
    ends: ({ primary }) => cli(primary, 'REPLICAOF', 'NO', 'ONE'),
  },
  'loses its scripts': { begins: ({ primary }) => cli(primary, 'SCRIPT', 'FLUSH'), ends: () => {}, isAway: false },
}

async function bedOf({ hasReplica = false }: Fault): Promise<Bed> {
  const server = async (...args: string[]): Promise<RedisServer> => {
    const started = await startRedis({ args: ['--repl-diskless-sync-delay', '0', ...args] })
    onTestFinished(() => started.close())
    return started
  }
  const primary = await server()
  const address = await TcpProxy.to(primary.port)
  onTestFinished(() => address.close())
  if (!hasReplica) return { primary, replica: undefined, address }
  const replica = await server('--replicaof', '127.0.0.1', String(primary.port))
  await expect.poll(() => cli(primary, 'INFO', 'replication'), { timeout: 10_000 }).toMatch(/state=online/)
  return { primary, replica, address }
}

/** Routes with a limit of three and each policy. The function asks one so many times at once, and counts the statuses. */
async function application(redis: Redis) {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(fastifyRedwell, { redis })
  for (const whenUnavailable of ['local', 'allow', 'deny'] as const) {
    const per = (request: FastifyRequest) => request.headers['x-user'] as string
    const config = { rateLimit: { rate: '3/hour', per, whenUnavailable } } as const
    app.get(`/${whenUnavailable}`, { config }, async () => 'content')
  }
  return async (path: string, user: string, times = 5): Promise<Record<number, number>> => {
    const ask = () => app.inject({ url: path, headers: { 'x-user': user } })
    const answers = await Promise.all(Array.from({ length: times }, ask))
    const counts: Record<number, number> = {}
    for (const { statusCode } of answers) counts[statusCode] = (counts[statusCode] ?? 0) + 1
    return counts
  }
}

test.each(Object.entries(FAULTS))(
  'Redis %s: no request fails, each policy holds meanwhile, and right afterwards all processes count together again',
  async (_, fault) => {
    const bed = await bedOf(fault)
    const settings = { url: bed.address.url, prefix: `test:${randomUUID()}`, logger: silentLogger }
    const redis = createRedis(settings)
    onTestFinished(() => redis.close())
    const ask = await application(await redis.connect())
    const all = async (user: string) => [await ask('/local', user), await ask('/allow', user), await ask('/deny', user)]
    const exact = { 200: 3, 429: 2 }
    expect(await all('ann')).toEqual([exact, exact, exact])
    expect(await ask('/local', 'dan', 2)).toEqual({ 200: 2 })
    if (bed.replica !== undefined) await replicated(bed.primary)
    await fault.begins(bed)
    expect(await all('bob')).toEqual(fault.isAway === false ? [exact, exact, exact] : [exact, { 200: 5 }, { 503: 5 }])
    await fault.ends(bed)
    await until(redis, 'ready')
    const other = createRedis(settings)
    onTestFinished(() => other.close())
    const elsewhere = await application(await other.connect())
    expect(await elsewhere('/local', 'dan', 2)).toEqual(fault.forgets === true ? { 200: 2 } : { 200: 1, 429: 1 })
    for (const path of ['/local', '/allow', '/deny']) {
      expect(await ask(path, 'cid', 2)).toEqual({ 200: 2 })
      expect(await elsewhere(path, 'cid', 2)).toEqual({ 200: 1, 429: 1 })
    }
  },
)

test.each(['is down', 'hangs', 'is full'])(
  'an identity that is blocked while Redis %s is refused by this process for that time, then and afterwards',
  async (name) => {
    const fault = FAULTS[name] as Fault
    const bed = await bedOf(fault)
    const redis = createRedis({ url: bed.address.url, prefix: `test:${randomUUID()}`, logger: silentLogger })
    onTestFinished(() => redis.close())
    await redis.connect()
    const limiters = (['local', 'allow', 'deny'] as const).map((whenUnavailable) => {
      const limited = (rate: string) => redis.rateLimiter(whenUnavailable, { rate: rate as '5/hour', whenUnavailable })
      // A route of this scope may have other rates.
      return { limiter: limited('5/hour'), sameName: limited('50/hour') }
    })
    const reasons = () =>
      Promise.all(
        limiters.flatMap(({ limiter, sameName }) =>
          [limiter.hit('ann'), sameName.hit('ann'), limiter.peek('ann')].map(async (verdict) => (await verdict).reason),
        ),
      )
    await fault.begins(bed)
    for (const { limiter } of limiters)
      expect(await limiter.block('ann', '1h').catch((error: Error) => error.name)).toBe(
        name === 'is full' ? 'UnavailableError' : false,
      )
    const banned = limiters.flatMap(() => ['banned', 'banned', 'banned'])
    expect(await reasons()).toEqual(banned)
    await fault.ends(bed)
    await until(redis, 'ready')
    expect(await reasons()).toEqual(banned)
    for (const { limiter } of limiters) expect((await limiter.hit('bob')).allowed).toBe(true)
    // A reset ends it, also if another process makes it.
    const other = createRedis({ url: bed.address.url, prefix: redis.settings.prefix, logger: silentLogger })
    onTestFinished(() => other.close())
    await other.connect()
    await expect
      .poll(async () => {
        for (const { limiter } of limiters) await limiter.hit('ann')
        return String(await command(redis, 'PUBSUB', 'NUMSUB', `${redis.settings.prefix}:limit`))
      }, LISTENS)
      .toContain(',1')
    const [first, ...others] = limiters
    await first?.limiter.reset('ann')
    for (const { limiter } of others) await other.rateLimiter(limiter.name, { rate: '5/hour' }).reset('ann')
    await expect.poll(reasons).toEqual(banned.map(() => undefined))
  },
)

test('a flood of refusals reaches Redis once', async () => {
  const { redis } = await opened()
  const limiter = redis.rateLimiter('calls', { rate: '1/hour' })
  await limiter.hit('ann')
  await limiter.hit('ann')
  await command(redis, 'CONFIG', 'RESETSTAT')
  for (let call = 0; call < 100_000; call += 1) await limiter.hit('ann')
  const stats = String(await command(redis, 'INFO', 'commandstats'))
  expect(stats).not.toMatch(/cmdstat_evalsha/)
})

test('a refusal that another process lifts is over here, too', async () => {
  const { server, redis } = await opened()
  const prefix = redis.settings.prefix
  const other = createRedis({ url: server.url, prefix, logger: silentLogger })
  onTestFinished(() => other.close())
  await other.connect()
  const [here, there] = [redis, other].map((handle) => handle.rateLimiter('calls', { rate: '1/hour' }))
  await here?.hit('ann')
  expect((await here?.hit('ann'))?.allowed).toBe(false)
  // The subscription opens with the first refusal that is remembered.
  await expect.poll(async () => String(await command(redis, 'PUBSUB', 'NUMSUB', `${prefix}:limit`))).toContain(',1')
  await there?.reset('ann')
  await expect.poll(async () => (await here?.hit('ann'))?.source).toBe('redis')
})

test('the embedded store limits as Redis does', async () => {
  const redis = createRedis({ url: 'memory:', logger: silentLogger })
  const limiter = redis.rateLimiter('calls', { rate: '1/hour' })
  expect([(await limiter.hit(1)).allowed, (await limiter.hit(1)).allowed]).toEqual([true, false])
  expect(redis.rateLimiter('calls', { rate: '1/hour' })).toBe(limiter)
  expect(redis.cache.stats().rateLimits).toEqual({ calls: { allowed: 1, limited: 1 } })
  await redis.close()
})

test('settings: the limit of the application, its fields, and failing closed', () => {
  const settingsOf = (settings: RedisOptions) => {
    const redis = createRedis({ url: 'memory:', ...settings })
    void redis.close()
    return redis.settings.rateLimit
  }
  expect(settingsOf({})).toEqual({ rate: undefined, failClosed: false, headers: 'draft' })
  expect(
    settingsOf({
      rateLimitDefaultLimit: 5,
      rateLimitDefaultWindow: '2m',
      rateLimitFailClosed: true,
      rateLimitIetfHeaders: false,
    }),
  ).toEqual({ rate: { limit: 5, windowMs: 120_000 }, failClosed: true, headers: 'legacy' })
  expect(settingsOf({ rateLimitEmitHeaders: false }).headers).toBe('none')
  expect(() => createRedis({ url: 'memory:', rateLimitDefaultLimit: -1 })).toThrow(/rateLimitDefaultLimit/)
})
