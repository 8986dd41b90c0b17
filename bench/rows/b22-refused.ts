import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import express, { type Express } from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, get } from '../harness/items.js'
import { listen, type Outcome, type Row, type Running, type Subject } from '../harness/row.js'

const PATH = '/limited'
const RATE = '1/day'

/** The same response from the same place, made once. */
const BODY = JSON.stringify({
  type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
  title: 'Request quota exceeded',
  status: 429,
  'violated-policies': ['day'],
})
const HEADERS = {
  'RateLimit-Policy': '"day";q=1;w=86400',
  RateLimit: '"day";r=0;t=86400',
  'Content-Type': 'application/problem+json',
  'Cache-Control': 'no-store',
  'Retry-After': '86400',
}

async function onExpress(app: Express): Promise<Running> {
  app.get(PATH, (_, res) => void res.send('allowed'))
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port }
}

async function onHono(app: Hono): Promise<Running> {
  app.get(PATH, (c) => c.text('allowed'))
  const server = createAdaptorServer({ fetch: app.fetch })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port }
}

const redwellFastify: Subject = async ({ redisUrl }) => {
  const { default: plugin } = await import('redwell/fastify')
  const app = Fastify()
  await app.register(plugin, { url: redisUrl, connect: true })
  app.get(PATH, { config: { rateLimit: RATE } }, async () => 'allowed')
  return listen(app)
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
  return onHono(new Hono().use(connected).use(PATH, rateLimit(RATE)))
}

const prebuiltFastify: Subject = async () => {
  const app = Fastify()
  app.get(PATH, { onRequest: (_, reply) => void reply.code(429).headers(HEADERS).send(BODY) }, async () => 'allowed')
  return listen(app)
}

const prebuiltExpress: Subject = async () =>
  onExpress(
    express().use(PATH, (_, res) => {
      res.statusCode = 429
      for (const [name, value] of Object.entries(HEADERS)) res.setHeader(name, value)
      res.setHeader('Content-Length', Buffer.byteLength(BODY))
      res.end(BODY)
    }),
  )

const prebuiltHono: Subject = async () =>
  onHono(new Hono().use(PATH, async () => new Response(BODY, { status: 429, headers: HEADERS })))

/** Our variant, the other one, the host, the ratio that is asked for. */
const ROWS = [
  ['redwellFastify', 'prebuiltFastify', 'Fastify', 0.93],
  ['redwellExpress', 'prebuiltExpress', 'Express', 0.93],
  ['redwellHono', 'prebuiltHono', 'Hono', 0.9],
] as const

export default {
  id: 'B22',
  subjects: { redwellFastify, redwellExpress, redwellHono, prebuiltFastify, prebuiltExpress, prebuiltHono },
  async run(bench: Bench) {
    const outcomes: Outcome[] = []
    for (const [oursName, baseName, host, atLeast] of ROWS) {
      const [ours, base] = [await bench.start(oursName), await bench.start(baseName)]
      // The first request is allowed.
      await bench.send(await bench.prepare(ours, { requests: [get(PATH)] }, 1), { count: 2 })
      const [a, b] = [
        await bench.prepare(ours, { requests: [get(PATH)] }),
        await bench.prepare(base, { requests: [get(PATH)] }),
      ]
      const samples = await interleave(bench, {
        ours: () => checkedSample(bench, ours, a, { status: 429 }),
        base: () => checkedSample(bench, base, b, { status: 429 }),
      })
      await Promise.all([ours.process.close(), base.process.close()])
      const what = `refused from memory, ${host}, against a prebuilt 429`
      outcomes.push(compared({ id: 'B22', what, ours: samples.ours, base: samples.base, atLeast }))
    }
    return outcomes
  },
} satisfies Row
