import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { tunedClient } from './client.js'
import { ITEM_COUNT, itemBytes, makeItem, TTL } from './items.js'
import type { Running, Subject } from './row.js'

async function listen(app: Hono): Promise<Running> {
  const server = createAdaptorServer({ fetch: app.fetch })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port }
}

/** The cached route of the hit rows, on Hono. */
export function cachedItems(bytes: number, url?: string): Subject {
  return async ({ redisUrl }) => {
    const { cache, redwell } = await import('redwell/hono')
    const app = new Hono()
    const connected = redwell({ url: url ?? redisUrl })
    // Connected before the first request: otherwise the first answers are misses that cannot be stored.
    await connected.redis.connect()
    app.use(connected)
    app.get('/items/:id', cache({ ttl: TTL }), (c) => c.json(makeItem(c.req.param('id'), bytes)))
    return listen(app)
  }
}

/** Sends a buffer that is there already, with the header lines of the answer it imitates. */
export function prebuilt(bytes: number): Subject {
  return async ({ headers = {} }) => {
    const bodies = Array.from({ length: ITEM_COUNT }, (_, n) => itemBytes(String(n), bytes))
    const app = new Hono()
    app.use(passing)
    app.get('/items/:id', async (c) => new Response(bodies[Number(c.req.param('id'))] ?? null, { headers }))
    return listen(app)
  }
}

/** The fewest lines that read an answer from Redis and send it, with the header lines of the answer it imitates. */
export function handwrittenHit(bytes: number): Subject {
  return async ({ redisUrl, headers = {} }) => {
    const client = await tunedClient(redisUrl)
    for (let n = 0; n < ITEM_COUNT; n++) await client.set(`by-hand:${n}`, itemBytes(String(n), bytes))
    const app = new Hono()
    app.use(passing)
    app.get('/items/:id', async (c) => new Response(await client.get(`by-hand:${c.req.param('id')}`), { headers }))
    return listen(app)
  }
}

/** What connects an application to Redis by hand is a middleware as well. */
async function passing(_: unknown, next: () => Promise<void>): Promise<void> {
  await next()
}
