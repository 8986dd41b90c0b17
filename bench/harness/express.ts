import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Express } from 'express'
import { tunedClient } from './client.js'
import { ITEM_COUNT, itemBytes, makeItem, TTL } from './items.js'
import type { Running, Subject } from './row.js'

async function listen(app: Express): Promise<Running> {
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port }
}

/** The cached route of the hit rows, on Express. */
export function cachedItems(bytes: number, url?: string): Subject {
  return async ({ redisUrl }) => {
    const { cache, redwell } = await import('redwell/express')
    const app = express()
    const connected = redwell({ url: url ?? redisUrl })
    // Connected before the first request: otherwise the first answers are misses that cannot be stored.
    await connected.redis.connect()
    app.use(connected)
    app.get('/items/:id', cache({ ttl: TTL }), (req, res) => void res.json(makeItem(req.params.id, bytes)))
    return listen(app)
  }
}

/** Sends a buffer that is there already, with the header lines of the answer it imitates. */
export function prebuilt(bytes: number): Subject {
  return async ({ headers = {} }) => {
    const bodies = Array.from({ length: ITEM_COUNT }, (_, n) => itemBytes(String(n), bytes))
    const app = express().use(passing)
    app.get('/items/:id', (req, res) => void res.set(headers).send(bodies[Number(req.params.id)]))
    return listen(app)
  }
}

/** The fewest lines that read an answer from Redis and send it, with the header lines of the answer it imitates. */
export function handwrittenHit(bytes: number): Subject {
  return async ({ redisUrl, headers = {} }) => {
    const client = await tunedClient(redisUrl)
    for (let n = 0; n < ITEM_COUNT; n++) await client.set(`by-hand:${n}`, itemBytes(String(n), bytes))
    const app = express().use(passing)
    app.get('/items/:id', async (req, res) => void res.set(headers).send(await client.get(`by-hand:${req.params.id}`)))
    return listen(app)
  }
}

/** What connects an application to Redis by hand is a middleware as well. */
function passing(_req: unknown, _res: unknown, next: () => void): void {
  next()
}
