import { expect, test } from 'vitest'
import { open, TIMEOUT_MS, trio } from '../faults/on-sentinels.js'

test(
  'sentinels promote a replica under load: no call fails, and what passes is the limit once in Redis and once here',
  { timeout: TIMEOUT_MS },
  async () => {
    const { redis } = open()
    await redis.connect()
    const limit = 300
    const limiter = redis.rateLimiter('calls', { rate: { limit, window: '1h' } })
    const before = await trio.master()
    const sources = new Set<string>()
    let passed = 0
    const stop = new AbortController()
    const client = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        const { allowed, source } = await limiter.hit('ann')
        sources.add(source)
        if (allowed) passed += 1
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    const clients = Array.from({ length: 4 }, client)
    await trio.failover()
    await expect.poll(async () => (await trio.master()) !== before, { timeout: 20_000 }).toBe(true)
    await expect.poll(async () => (await limiter.peek('bob')).source, { timeout: 20_000 }).toBe('redis')
    stop.abort()
    await Promise.all(clients)
    for (let hit = 0; hit < limit; hit += 1) if ((await limiter.hit('ann')).allowed) passed += 1
    expect([...sources]).toContain('redis')
    // The last hits before the promotion may be lost with the old master.
    expect(passed).toBeGreaterThanOrEqual(limit)
    expect(passed).toBeLessThanOrEqual(2 * limit)
    expect((await limiter.hit('ann')).allowed).toBe(false)
    await trio.settled()
  },
)
