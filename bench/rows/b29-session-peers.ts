import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Express, type Request } from 'express'
import Fastify from 'fastify'
import type { Bench, Sample, Variant } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, get } from '../harness/items.js'
import { listen, type Outcome, type Row, type Running, type Subject } from '../harness/row.js'
import {
  ANONYMOUS,
  answerOf,
  type Data,
  dataOf,
  peerRoutes,
  READ,
  redwellSessions,
  visits,
  WRITE,
} from '../harness/sessions.js'
import { installPeers, peer } from '../peers/index.js'

const BYTES = 1024

const SECRET = 'a secret of at least 32 characters'

/** A client and a store as the documentation of connect-redis makes them. */
async function connectRedis(url: string): Promise<object> {
  const { createClient } = peer('redis') as { createClient: (options: object) => { connect(): Promise<unknown> } }
  const { RedisStore } = peer('connect-redis') as { RedisStore: new (options: object) => object }
  const client = createClient({ url })
  await client.connect()
  return new RedisStore({ client, prefix: 'peer:' })
}

const peerFastify: Subject = async ({ redisUrl }) => {
  const app = Fastify()
  await app.register(peer('@fastify/cookie'))
  await app.register(peer('@fastify/session'), {
    ...{ secret: SECRET, store: await connectRedis(redisUrl), saveUninitialized: false },
    cookie: { secure: false },
  } as never)
  peerRoutes(app, BYTES, ({ session }: { session: unknown }) => session as Data)
  return listen(app)
}

/** The routes of `redwellSessions`, in Express. */
async function onExpress(app: Express): Promise<Running> {
  const data = (req: Request): Data => (req as unknown as { session: Data }).session
  app.post('/login', (req: Request<object, unknown, unknown, { user: string }>, res) => {
    Object.assign(data(req as never), dataOf(req.query.user, BYTES))
    res.send('in')
  })
  app.get(READ, (req, res) => void res.json(answerOf(data(req))))
  app.get(WRITE, (req, res) => {
    data(req).count += 1
    res.json(answerOf(data(req)))
  })
  app.get(ANONYMOUS, (_, res) => void res.json({ hello: 'world' }))
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port }
}

const redwellExpress: Subject = async ({ redisUrl }) => {
  const { redwell, sessions } = await import('redwell/express')
  const connected = redwell({ url: redisUrl })
  await connected.redis.connect()
  return onExpress(
    express()
      .use(connected)
      .use(sessions({ cookie: { secure: false } })),
  )
}

const peerExpress: Subject = async ({ redisUrl }) => {
  const session = peer('express-session') as (options: object) => never
  const store = await connectRedis(redisUrl)
  return onExpress(express().use(session({ secret: SECRET, store, resave: false, saveUninitialized: false })))
}

const ROWS = [READ, WRITE, ANONYMOUS].flatMap((path) => {
  const what = { [READ]: 'session read', [WRITE]: 'session with one property changed' }[path] ?? 'anonymous request'
  const atLeast = path === ANONYMOUS ? 1.2 : 1.4
  return [
    [
      'redwellExpress',
      'peerExpress',
      path,
      `Express: ${what}, 1 KB, against express-session with connect-redis`,
      atLeast,
    ],
    ['redwellFastify', 'peerFastify', path, `${what}, 1 KB, against @fastify/session with connect-redis`, atLeast],
  ] as const
})

export default {
  id: 'B29',
  subjects: { redwellFastify: redwellSessions(BYTES), redwellExpress, peerFastify, peerExpress },
  async run(bench: Bench) {
    installPeers()
    const outcomes: Outcome[] = []
    for (const [oursName, baseName, path, what, atLeast] of ROWS) {
      const [ours, base] = [await bench.start(oursName), await bench.start(baseName)]
      const measured = async (variant: Variant): Promise<() => Promise<Sample>> => {
        const requests = path === ANONYMOUS ? [get(path)] : await visits(bench, variant, path)
        const handle = await bench.prepare(variant, { requests })
        return () => checkedSample(bench, variant, handle)
      }
      const [a, b] = [await measured(ours), await measured(base)]
      const samples = await interleave(bench, { ours: a, base: b })
      await Promise.all([ours.process.close(), base.process.close()])
      outcomes.push(compared({ id: 'B29', what, ours: samples.ours, base: samples.base, atLeast }))
    }
    return outcomes
  },
} satisfies Row
