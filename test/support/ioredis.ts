import { Cluster, Redis } from 'ioredis'
import type { RedisSettings } from '../../src/redis/settings.js'

type AtEnd = (cleanup: () => Promise<void>) => void

/** As docs/connection.md recommends: a lost connection is noticed, and made anew soon and for ever. */
const OPTIONS = { socketTimeout: 600, connectTimeout: 600, retryStrategy: (times: number) => Math.min(25 * times, 250) }

/** Settings with a client of ioredis of their own, for the server of this URL. */
export function onIoRedis(url: string, atEnd: AtEnd): RedisSettings {
  const client = new Redis(url, OPTIONS)
  client.on('error', () => {})
  atEnd(async () => client.disconnect())
  return { client, connectTimeout: '10s' }
}

/** The same for a cluster that has this node. */
export function onIoRedisCluster(url: string, atEnd: AtEnd): RedisSettings {
  const { hostname, port } = new URL(url.split(',')[0] ?? url)
  const client = new Cluster([{ host: hostname, port: Number(port) }], {
    slotsRefreshInterval: 1000,
    redisOptions: { socketTimeout: 1500, connectTimeout: 1000 },
  })
  client.on('error', () => {})
  atEnd(async () => client.disconnect())
  return { client, connectTimeout: '10s' }
}
