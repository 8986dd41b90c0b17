import Fastify from 'fastify'
import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, get } from '../harness/items.js'
import { listen, type Row, type Subject } from '../harness/row.js'

const PATH = '/limited'

const redwell: Subject = async ({ redisUrl }) => {
  const { default: plugin } = await import('redwell/fastify')
  const app = Fastify()
  await app.register(plugin, { url: redisUrl, connect: true })
  app.get(PATH, { config: { rateLimit: '1/day' } }, async () => 'allowed')
  return listen(app)
}

/** The same response from the same place, made once. */
const prebuilt: Subject = async ({ headers = {} }) => {
  const body = JSON.stringify({
    type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
    title: 'Request quota exceeded',
    status: 429,
    'violated-policies': ['day'],
  })
  const app = Fastify()
  app.get(PATH, { onRequest: (_, reply) => void reply.code(429).headers(headers).send(body) }, async () => 'allowed')
  return listen(app)
}

export default {
  id: 'B22',
  subjects: { redwell, prebuilt },
  async run(bench: Bench) {
    const ours = await bench.start('redwell')
    const headers = {
      'RateLimit-Policy': '"day";q=1;w=86400',
      RateLimit: '"day";r=0;t=86400',
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      'Retry-After': '86400',
    }
    const base = await bench.start('prebuilt', { headers })
    // The first request is allowed.
    const warm = await bench.prepare(ours, { requests: [get(PATH)] }, 1)
    await bench.send(warm, { count: 2 })
    const [a, b] = [
      await bench.prepare(ours, { requests: [get(PATH)] }),
      await bench.prepare(base, { requests: [get(PATH)] }),
    ]
    const samples = await interleave(bench, {
      ours: () => checkedSample(bench, ours, a, { status: 429 }),
      base: () => checkedSample(bench, base, b, { status: 429 }),
    })
    const what = 'refused from memory, Fastify, against a prebuilt 429'
    return [compared({ id: 'B22', what, ours: samples.ours, base: samples.base, atLeast: 0.93 })]
  },
} satisfies Row
