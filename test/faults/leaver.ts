// Connects, uses the cache and the wake-ups, closes, and then ends by itself: nothing may keep it alive.
import { createRedis } from '../../src/create-redis.js'
import type { RedisSettings } from '../../src/redis/settings.js'
import { silentLogger } from '../support/logger.js'

const settings = JSON.parse(process.argv[2] ?? '{}') as RedisSettings
const [one, other] = [
  createRedis({ ...settings, logger: silentLogger }),
  createRedis({ ...settings, logger: silentLogger }),
]
await Promise.all([one.connect(), other.connect()])
const slow = (): Promise<number> => new Promise((resolve) => setTimeout(() => resolve(1), 50))
await Promise.all([one, other].map((redis) => redis.cache.getOrSet(`key-${process.pid}`, slow, { ttl: 60 })))
// What is under way is finished.
const last = one.cache.set(`last-${process.pid}`, 1, { ttl: 60 })
await Promise.all([one.close(), other.close()])
const { stored } = await last
// A socket that was closed takes a turn or two to go; the timer of this pause is gone with it.
await new Promise((resolve) => setTimeout(resolve, 100))
const left = process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Timeout/.test(name))
console.log(JSON.stringify({ stored, left }))
