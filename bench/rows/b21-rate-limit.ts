import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import express, { type Express } from 'express'
import Fastify, { type FastifyInstance, type RouteShorthandOptions } from 'fastify'
import { Hono } from 'hono'
import type { Bench, Sample, Variant } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { compared, interleave } from '../harness/compare.js'
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
    await app.register(redwell, { url: redisUrl, connect: true })
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

export default {
  id: 'B21',
  subjects: {
    redwellFastify: redwellFastify(RATE),
    redwellFastifyTwo: redwellFastify(RATES),
    redwellExpress,
    redwellHono,
    handFastify,
    handExpress,
    handHono,
    peerFastify,
    peerExpress,
    peerFlexible,
  },
  async run(bench: Bench) {
    installPeers()
    const against = async (
      id: string,
      what: string,
      oursName: string,
      baseName: string,
      atLeast: number,
    ): Promise<Outcome> => {
      const [ours, base] = [await bench.start(oursName), await bench.start(baseName)]
      const measured = async (variant: Variant): Promise<() => Promise<Sample>> => {
        const handle = await bench.prepare(variant, { requests: [get(PATH)] })
        return () => checkedSample(bench, variant, handle)
      }
      const [a, b] = [await measured(ours), await measured(base)]
      const samples = await interleave(bench, { ours: a, base: b })
      await Promise.all([ours.process.close(), base.process.close()])
      return compared({ id, what, ours: samples.ours, base: samples.base, atLeast })
    }
    return [
      await against(
        'B21',
        'allowed, one rate, Fastify, against INCR and PEXPIRE by hand',
        'redwellFastify',
        'handFastify',
        0.95,
      ),
      await against(
        'B21',
        'allowed, two rates, Fastify, against INCR and PEXPIRE by hand',
        'redwellFastifyTwo',
        'handFastify',
        0.9,
      ),
      await against(
        'B21',
        'allowed, one rate, Express, against INCR and PEXPIRE by hand',
        'redwellExpress',
        'handExpress',
        0.95,
      ),
      await against('B21', 'allowed, one rate, Hono, against INCR and PEXPIRE by hand', 'redwellHono', 'handHono', 0.9),
      await against(
        'B24',
        'allowed, Fastify, against @fastify/rate-limit on ioredis',
        'redwellFastify',
        'peerFastify',
        1.2,
      ),
      await against(
        'B24',
        'allowed, Fastify, against rate-limiter-flexible on ioredis',
        'redwellFastify',
        'peerFlexible',
        1.2,
      ),
      await against(
        'B24',
        'allowed, Express, against express-rate-limit with rate-limit-redis',
        'redwellExpress',
        'peerExpress',
        1.2,
      ),
    ]
  },
} satisfies Row
