import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { onRedis } from '../consistency/crossing-stores.js'
import {
  type Cell,
  cellsOf,
  failures,
  FRAMEWORK_KINDS,
  type Kind,
  KINDS,
  type Place,
} from '../consistency/crossings.js'
import { sharedRedis } from '../support/redis-server.js'
import { changesOf, Pair } from './contract/crossings.js'
import { expressHost } from './hosts/express.js'
import { fastifyHost } from './hosts/fastify.js'
import { honoHost } from './hosts/hono.js'
import { nestHost } from './hosts/nest.js'

const TIMEOUT_MS = 600_000

let server: Awaited<ReturnType<typeof sharedRedis>>
let redis: Place

beforeAll(async () => {
  server = await sharedRedis()
  redis = await onRedis(server.url)
})

afterAll(async () => {
  await redis.close()
  await server.close()
})

/** A response leaves while it is stored, or its lease given back: it may be there before the reply to that. */
function isKept(kind: Kind, { moment, by, groups }: Cell): boolean {
  if (['publish after', 'releaseLease after'].includes(moment.join(' '))) return false
  return (KINDS as readonly Kind[]).includes(kind) || (by === 'other' && groups === 'warm')
}

const HOSTS = [fastifyHost, expressHost, honoHost, nestHost('fastify'), nestHost('express')]

describe.each(HOSTS)('$name', (host) => {
  describe.each(FRAMEWORK_KINDS)('%s, on Redis: at every moment', (kind) => {
    const pair = new Pair(host, kind)

    beforeAll(() => pair.start())
    afterAll(() => pair.close())

    test.each(changesOf(kind))('%s', { timeout: TIMEOUT_MS }, async (change) => {
      const cells = cellsOf('route', kind, change, 'none').filter((cell) => isKept(kind, cell))
      expect(await failures(cells, pair.place(redis), pair.open)).toEqual([])
    })
  })
})
