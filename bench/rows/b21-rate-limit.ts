import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type * as common from '@nestjs/common'
import type * as core from '@nestjs/core'
import type * as platform from '@nestjs/platform-fastify'
import express, { type Express } from 'express'
import Fastify, { type FastifyInstance, type RouteShorthandOptions } from 'fastify'
import { Hono } from 'hono'
import type { Bench, Sample, Variant } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { compared, interleave, redisCompared } from '../harness/compare.js'
import { checkedSample, get } from '../harness/items.js'
import { listen, type Outcome, type Row, type Running, type Subject } from '../harness/row.js'
import { installPeers, peer } from '../peers/index.js'

/** Never reached: every request is allowed. */
const LIMIT = 1_000_000_000
const RATE = `${LIMIT}/hour` as const
const RATES = [RATE, `${LIMIT}/day`] as const
const PATH = '/limited'
const BODY = JSON.stringify({ ok: true })
const FIELDS = { 'RateLimit-Policy': `"hour";q=${LIMIT};w=3600`, RateLimit: `"hour";r=999999999;t=3600` }

async function onPort(
  server: { listen(port: number, host: string): unknown; address(): unknown } & NodeJS.EventEmitter,
): Promise<Running> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port }
}

const onExpress = (app: Express): Promise<Running> => {
  app.get(PATH, (_, res) => void res.type('json').send(BODY))
  const server = app.listen(0, '127.0.0.1')
  return once(server, 'listening').then(() => ({ port: (server.address() as AddressInfo).port }))
}

const onFastify = (app: FastifyInstance, options: RouteShorthandOptions = {}): Promise<Running> => {
  app.get(PATH, options, async (_, reply) => reply.type('application/json').send(BODY))
  return listen(app)
}

const redwellFastify =
  (rateLimit: string | readonly string[]): Subject =>
  async ({ redisUrl }) => {
    const { default: redwell } = await import('redwell/fastify')
    const app = Fastify()
    // Rates of one scope share a state, which would be larger than that of one variant alone.
    await app.register(redwell, { url: redisUrl, prefix: `rates-${[rateLimit].flat().length}`, connect: true })
    return onFastify(app, { config: { rateLimit: rateLimit as typeof RATE } })
  }

const redwellExpress: Subject = async ({ redisUrl }) => {
  const { rateLimit, redwell } = await import('redwell/express')
  const connected = redwell({ url: redisUrl })
  await connected.redis.connect()
  return onExpress(express().use(connected).use(PATH, rateLimit(RATE)))
}

const redwellHono: Subject = async ({ redisUrl }) => {
  const { rateLimit, redwell } = await import('redwell/hono')
  const connected = redwell({ url: redisUrl })
  await connected.redis.connect()
  const app = new Hono()
  app.use(connected)
  app.get(PATH, rateLimit(RATE), (c) => c.body(BODY, 200, { 'content-type': 'application/json' }))
  return onPort(createAdaptorServer({ fetch: app.fetch }) as never)
}

/** The fewest commands that count: one pipeline of INCR and PEXPIRE. */
async function counter(redisUrl: string): Promise<(ip: string) => Promise<number>> {
  const client = await tunedClient(redisUrl)
  return async (ip) => {
    const [count] = await Promise.all([client.incr(`by-hand:${ip}`), client.pExpire(`by-hand:${ip}`, 3_600_000)])
    return count
  }
}

const handFastify: Subject = async ({ redisUrl }) => {
  const count = await counter(redisUrl)
  const app = Fastify()
  return onFastify(app, {
    onRequest: async (request, reply) => {
      if ((await count(request.ip)) > LIMIT) return reply.code(429).send()
      reply.headers(FIELDS)
    },
  })
}

/** A script that reads the time and a state and writes it: what every limit by Redis' clock has to do. */
const FLOOR = `
local time = redis.call('TIME')
local state = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], struct.pack('<dd', time[1], time[2]), 'PX', 3600000)
return struct.pack('<ddddddd', 1, time[1], 0, 1, 2, 3, 4)`

/** One bare EVALSHA of it, and the two fields. */
const floorFastify: Subject = async ({ redisUrl }) => {
  const client = await tunedClient(redisUrl)
  const sha = String(await client.scriptLoad(FLOOR))
  return onFastify(Fastify(), {
    onRequest: async (request, reply) => {
      const verdict = await client.evalSha(sha, { keys: [`floor:${request.ip}`], arguments: ['h1', '1', '2'] })
      if (verdict === null) return reply.code(429).send()
      reply.headers(FIELDS)
    },
  })
}

const handExpress: Subject = async ({ redisUrl }) => {
  const count = await counter(redisUrl)
  return onExpress(
    express().use((req, res, next) => {
      count(req.ip ?? '').then((used) => {
        if (used > LIMIT) return void res.status(429).end()
        res.set(FIELDS)
        next()
      }, next)
    }),
  )
}

const handHono: Subject = async ({ redisUrl }) => {
  const count = await counter(redisUrl)
  const app = new Hono<{ Bindings: { incoming: { socket: { remoteAddress: string } } } }>()
  app.get(
    PATH,
    async (c, next) => {
      if ((await count(c.env.incoming.socket.remoteAddress)) > LIMIT) return c.body(null, 429)
      await next()
      for (const [name, value] of Object.entries(FIELDS)) c.res.headers.set(name, value)
    },
    (c) => c.body(BODY, 200, { 'content-type': 'application/json' }),
  )
  return onPort(createAdaptorServer({ fetch: app.fetch }) as never)
}

interface Response {
  header(name: string, value: string): unknown
}

/** A module with the limited route, behind what counts. `packages` is Nest itself, or the one that a peer was installed beside. */
async function onNest(packages: NestPackages, module: object): Promise<Running> {
  const { common, core, platform } = packages
  class Limited {
    find(): string {
      return BODY
    }
  }
  const descriptor = Object.getOwnPropertyDescriptor(Limited.prototype, 'find') ?? {}
  common.Get(PATH)(Limited.prototype, 'find', descriptor)
  common.Header('content-type', 'application/json')(Limited.prototype, 'find', descriptor)
  common.Controller()(Limited)
  const application = { ...module, module: Limited, controllers: [Limited] }
  const app = await core.NestFactory.create(application, new platform.FastifyAdapter(), { logger: false })
  await app.listen(0, '127.0.0.1')
  return { port: Number(new URL(await app.getUrl()).port) }
}

interface NestPackages {
  readonly common: typeof common
  readonly core: typeof core
  readonly platform: typeof platform
}

async function nest(): Promise<NestPackages> {
  const [common, core, platform] = await Promise.all([
    import('@nestjs/common'),
    import('@nestjs/core'),
    import('@nestjs/platform-fastify'),
  ])
  return { common, core, platform }
}

const redwellNest: Subject = async ({ redisUrl }) => {
  const { RedwellModule } = await import('redwell/nestjs')
  return onNest(await nest(), {
    imports: [RedwellModule.forRoot({ url: redisUrl, connect: true, rateLimit: RATE })],
  })
}

const handNest: Subject = async ({ redisUrl }) => {
  const count = await counter(redisUrl)
  const guard: common.CanActivate = {
    async canActivate(context) {
      const http = context.switchToHttp()
      if ((await count(http.getRequest<{ ip: string }>().ip)) > LIMIT) return false
      for (const [name, value] of Object.entries(FIELDS)) http.getResponse<Response>().header(name, value)
      return true
    },
  }
  return onNest(await nest(), { providers: [{ provide: 'APP_GUARD', useValue: guard }] })
}

/** As its documentation shows it: @nest-lab/throttler-storage-redis on ioredis. */
const peerNest: Subject = async ({ redisUrl }) => {
  const packages: NestPackages = {
    common: peer('@nestjs/common'),
    core: peer('@nestjs/core'),
    platform: peer('@nestjs/platform-fastify'),
  }
  const { ThrottlerGuard, ThrottlerModule } = peer('@nestjs/throttler') as {
    ThrottlerGuard: never
    ThrottlerModule: { forRoot(options: object): object }
  }
  const { ThrottlerStorageRedisService } = peer('@nest-lab/throttler-storage-redis') as {
    ThrottlerStorageRedisService: new (url: string) => object
  }
  const storage = new ThrottlerStorageRedisService(redisUrl)
  return onNest(packages, {
    imports: [ThrottlerModule.forRoot({ throttlers: [{ ttl: 3_600_000, limit: LIMIT }], storage })],
    providers: [{ provide: packages.core.APP_GUARD, useClass: ThrottlerGuard }],
  })
}

/** As its documentation shows it: its own store on a client with these four methods. */
const peerHono: Subject = async ({ redisUrl }) => {
  const Redis = (peer('ioredis') as { Redis: new (url: string) => IoRedis }).Redis
  const client = new Redis(redisUrl)
  const { RedisStore, rateLimiter } = peer('hono-rate-limiter') as {
    RedisStore: new (options: object) => object
    rateLimiter: (options: object) => never
  }
  const store = new RedisStore({
    client: {
      scriptLoad: (script: string) => client.script('LOAD', script),
      evalsha: (sha: string, keys: string[], args: string[]) => client.evalsha(sha, keys.length, ...keys, ...args),
      decr: (key: string) => client.decr(key),
      del: (key: string) => client.del(key),
    },
  })
  const app = new Hono<{ Bindings: { incoming: { socket: { remoteAddress: string } } } }>()
  const keyGenerator = (c: { env: { incoming: { socket: { remoteAddress: string } } } }): string =>
    c.env.incoming.socket.remoteAddress
  app.use(rateLimiter({ windowMs: 3_600_000, limit: LIMIT, keyGenerator, store }))
  app.get(PATH, (c) => c.body(BODY, 200, { 'content-type': 'application/json' }))
  return onPort(createAdaptorServer({ fetch: app.fetch }) as never)
}

interface IoRedis {
  script(command: 'LOAD', script: string): Promise<string>
  evalsha(sha: string, keys: number, ...rest: string[]): Promise<unknown>
  decr(key: string): Promise<number>
  del(key: string): Promise<number>
}

/** As its documentation shows it: on ioredis. */
const peerFastify: Subject = async ({ redisUrl }) => {
  const Redis = (peer('ioredis') as { Redis: new (url: string) => never }).Redis
  const app = Fastify()
  await app.register(peer('@fastify/rate-limit'), {
    max: LIMIT,
    timeWindow: 3_600_000,
    redis: new Redis(redisUrl),
  } as never)
  return onFastify(app)
}

/** As its documentation shows it: rate-limit-redis on a client of its own. */
const peerExpress: Subject = async ({ redisUrl }) => {
  const Redis = (peer('ioredis') as { Redis: new (url: string) => { call(...args: string[]): Promise<unknown> } }).Redis
  const client = new Redis(redisUrl)
  const { rateLimit } = peer('express-rate-limit') as { rateLimit: (options: object) => never }
  const { RedisStore } = peer('rate-limit-redis') as { RedisStore: new (options: object) => never }
  const store = new RedisStore({ sendCommand: (command: string, ...args: string[]) => client.call(command, ...args) })
  return onExpress(
    express().use(
      rateLimit({ windowMs: 3_600_000, limit: LIMIT, standardHeaders: 'draft-8', legacyHeaders: false, store }),
    ),
  )
}

const peerFlexible: Subject = async ({ redisUrl }) => {
  const Redis = (peer('ioredis') as { Redis: new (url: string) => never }).Redis
  const { RateLimiterRedis } = peer('rate-limiter-flexible') as {
    RateLimiterRedis: new (options: object) => {
      consume(key: string): Promise<{ remainingPoints: number; msBeforeNext: number }>
    }
  }
  const limiter = new RateLimiterRedis({ storeClient: new Redis(redisUrl), points: LIMIT, duration: 3600 })
  const app = Fastify()
  return onFastify(app, {
    onRequest: async (request, reply) => {
      const { remainingPoints, msBeforeNext } = await limiter.consume(request.ip)
      reply.headers({
        'X-RateLimit-Limit': LIMIT,
        'X-RateLimit-Remaining': remainingPoints,
        'X-RateLimit-Reset': msBeforeNext,
      })
    },
  })
}

const HAND = 'INCR and PEXPIRE by hand'

/** What is compared: our variant, the other one, in words, the ratio that is asked for. */
const ROWS = [
  ['B21', 'redwellFastify', 'handFastify', `one rate, Fastify, against ${HAND}`, 0.95],
  ['B21', 'redwellFastifyTwo', 'handFastify', `two rates, Fastify, against ${HAND}`, 0.9],
  ['B21', 'redwellExpress', 'handExpress', `one rate, Express, against ${HAND}`, 0.95],
  ['B21', 'redwellHono', 'handHono', `one rate, Hono, against ${HAND}`, 0.9],
  ['B21', 'redwellNest', 'handNest', `one rate, Nest on Fastify, against ${HAND}`, 0.9],
  ['B24', 'redwellFastify', 'peerFastify', 'Fastify, against @fastify/rate-limit on ioredis', 1.2],
  ['B24', 'redwellFastify', 'peerFlexible', 'Fastify, against rate-limiter-flexible on ioredis', 1.2],
  ['B24', 'redwellExpress', 'peerExpress', 'Express, against express-rate-limit with rate-limit-redis on ioredis', 1.2],
  ['B24', 'redwellHono', 'peerHono', 'Hono, against hono-rate-limiter on ioredis', 1],
  ['B24', 'redwellNest', 'peerNest', 'Nest on Fastify, against @nestjs/throttler on ioredis', 1.2],
] as const

/** Redis' own CPU; the same on all frameworks. */
const REDIS_AT_MOST: Readonly<Record<string, number>> = { redwellFastify: 3, redwellFastifyTwo: 3.6 }

export default {
  id: 'B21',
  subjects: {
    redwellFastify: redwellFastify(RATE),
    redwellFastifyTwo: redwellFastify(RATES),
    redwellExpress,
    redwellHono,
    redwellNest,
    handFastify,
    floorFastify,
    handExpress,
    handHono,
    handNest,
    peerFastify,
    peerFlexible,
    peerExpress,
    peerHono,
    peerNest,
  },
  async run(bench: Bench) {
    installPeers()
    const outcomes: Outcome[] = []
    for (const [id, oursName, baseName, what, atLeast] of ROWS) {
      const [ours, base] = [await bench.start(oursName), await bench.start(baseName)]
      const measured = async (variant: Variant): Promise<() => Promise<Sample>> => {
        const handle = await bench.prepare(variant, { requests: [get(PATH)] })
        return () => checkedSample(bench, variant, handle)
      }
      const [a, b] = [await measured(ours), await measured(base)]
      const samples = await interleave(bench, { ours: a, base: b })
      await Promise.all([ours.process.close(), base.process.close()])
      const sides = { id, what: `allowed, ${what}`, ours: samples.ours, base: samples.base }
      outcomes.push(compared({ ...sides, atLeast }))
      const atMost = REDIS_AT_MOST[oursName]
      if (id === 'B21' && atMost !== undefined) outcomes.push(redisCompared({ ...sides, atMost }))
    }
    return outcomes
  },
} satisfies Row
