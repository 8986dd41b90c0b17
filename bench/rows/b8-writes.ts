import Fastify from 'fastify'
import type { Bench } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { compared, interleave, redisCompared } from '../harness/compare.js'
import {
  checkedSample,
  ITEM_COUNT,
  itemPath,
  makeItem,
  request,
  SMALL_BYTES,
  TTL,
  TTL_SECONDS,
} from '../harness/items.js'
import { listen, type Outcome, type Row, type Subject } from '../harness/row.js'
import { withRedwell } from '../harness/variants.js'

/** A write takes two points of the clock and raises the group of its path; one command by hand does none of that. */
const REDIS_AT_MOST = 5

interface ItemRoute {
  Params: { id: string }
}

const redwell: Subject = ({ redisUrl }) =>
  withRedwell(redisUrl, (app) => {
    app.get<ItemRoute>('/items/:id', { config: { cache: { ttl: TTL } } }, async (r) =>
      makeItem(r.params.id, SMALL_BYTES),
    )
    app.put<ItemRoute>('/items/:id', { config: { cachePut: { ttl: TTL } } }, async (r) =>
      makeItem(r.params.id, SMALL_BYTES),
    )
    app.delete<ItemRoute>('/items/:id', { config: { cacheEvict: { key: 'path' } } }, async (_r, reply) =>
      reply.code(204).send(),
    )
  })

const byHand: Subject = async ({ redisUrl }) => {
  const client = await tunedClient(redisUrl)
  const app = Fastify()
  app.put<ItemRoute>('/items/:id', async (r, reply) => {
    const body = JSON.stringify(makeItem(r.params.id, SMALL_BYTES))
    await client.set(`by-hand:${r.params.id}`, body, { expiration: { type: 'EX', value: TTL_SECONDS } })
    return reply.type('application/json; charset=utf-8').send(body)
  })
  app.delete<ItemRoute>('/items/:id', async (r, reply) => {
    await client.del(`by-hand:${r.params.id}`)
    return reply.code(204).send()
  })
  return listen(app)
}

export default {
  id: 'B8',
  short: true,
  subjects: { redwell, byHand },
  async run(bench: Bench) {
    const [ours, base] = [await bench.start('redwell'), await bench.start('byHand')]
    const against = async (method: 'PUT' | 'DELETE', what: string, atLeast: number): Promise<Outcome[]> => {
      const body = method === 'PUT' ? '{"price":101}' : ''
      const requests = Array.from({ length: ITEM_COUNT }, (_, n) => request(method, itemPath(n), {}, body))
      const [a, b] = [await bench.prepare(ours, { requests }), await bench.prepare(base, { requests })]
      const status = method === 'PUT' ? 200 : 204
      const samples = await interleave(bench, {
        ours: () => checkedSample(bench, ours, a, { status }),
        base: () => checkedSample(bench, base, b, { status }),
      })
      const sides = { id: 'B8', what, ours: samples.ours, base: samples.base }
      return [compared({ ...sides, atLeast }), redisCompared({ ...sides, atMost: REDIS_AT_MOST })]
    }
    return [
      ...(await against('PUT', 'write-through, 2 KB, against SET by hand', 0.7)),
      ...(await against('DELETE', 'eviction of a key against DEL by hand', 0.8)),
    ]
  },
} satisfies Row
