import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@redis/client'
import Fastify from 'fastify'
import redwell from '../../src/adapters/fastify/index.js'
import type { createRedis } from '../../src/create-redis.js'
import type { Order, Outcome } from './processes.js'

/** Pieces of a body that is streamed, one in each handler time. */
const PIECES = 4

type WaitingOrder = Extract<Order, { task: 'waiting' }>

/** Many requests of one route at once. The handler counts its runs in Redis, so that those of all processes add up. */
export async function runWaiting(order: WaitingOrder, redis: ReturnType<typeof createRedis>): Promise<Outcome> {
  const { callers, handlerMs, run, startAt } = order
  const client = createClient({ url: order.url })
  await client.connect()
  const runs = `${order.prefix}:runs`
  const app = Fastify()
  await app.register(redwell, { redis })
  app.get('/x', { config: { cache: { ttl: '1m', group: 'g' } } }, async (_request, reply) => {
    const own = await client.incr(runs)
    if (run === 'hanging' && own === 1) await new Promise(() => {})
    await sleep(handlerMs / 2)
    if (run === 'fenced') await app.cache.deleteGroup('g')
    await sleep(handlerMs / 2)
    if (run === 'failing') throw new Error('the origin is down')
    if (run === 'unstorable') reply.header('set-cookie', 'a=b')
    return run === 'streaming' ? Readable.from(slowly(handlerMs)) : { own }
  })
  app.put('/x', { config: { cachePut: { ttl: '1m', group: 'g' } } }, async () => {
    await sleep(PIECES * handlerMs)
    return { own: 0 }
  })
  await app.ready()
  // The first process that meets a server invalidates everything under the prefix.
  await redis.cache.get('warm')
  await sleep(Math.max(0, startAt - Date.now()))
  const writing = run === 'written' ? app.inject({ method: 'PUT', url: '/x' }) : undefined
  if (writing !== undefined) await sleep(handlerMs / 2)
  const requests = Array.from({ length: callers }, async () => {
    const began = performance.now()
    await app.inject('/x')
    return performance.now() - began
  })
  // The request whose handler hangs is not answered at all.
  const answered = run === 'hanging' ? await allButOne(requests) : await Promise.all(requests)
  await writing
  const loads = Number(await client.get(runs))
  client.destroy()
  return { reads: callers, loads, stale: 0, waitedMs: answered }
}

async function* slowly(pieceMs: number): AsyncGenerator<string> {
  for (let piece = 0; piece < PIECES; piece += 1) {
    await sleep(pieceMs)
    yield 'piece'
  }
}

async function allButOne(requests: readonly Promise<number>[]): Promise<number[]> {
  const answered: number[] = []
  await new Promise<void>((resolve) => {
    for (const request of requests)
      void request.then((ms) => {
        answered.push(ms)
        if (answered.length === requests.length - 1) resolve()
      })
  })
  return answered
}
