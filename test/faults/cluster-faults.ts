import { expect, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { silentLogger } from '../support/logger.js'
import type { RedisServer } from '../support/redis-server.js'
import { atEnd, cluster, connect, fill, found, ownerOf, startTraffic, TIMEOUT_MS } from './on-cluster.js'
import { problemsIn } from './traffic.js'

/** What a cluster goes through under load, whichever driver is used. */
export function clusterFaults(): void {
  test('slots that move under load: MOVED and ASK', { timeout: TIMEOUT_MS }, async () => {
    const traffic = await startTraffic()
    await traffic.cached()
    const [from, to] = (await cluster.primaries()) as [RedisServer, RedisServer]
    const reshard = async (source: RedisServer, target: RedisServer, slots: number): Promise<void> => {
      await cluster.agreed()
      await cluster.cli(
        ...['--cluster', 'reshard', `127.0.0.1:${source.port}`, '--cluster-from', await cluster.idOf(source)],
        ...['--cluster-to', await cluster.idOf(target), '--cluster-slots', String(slots), '--cluster-yes'],
      )
    }
    await reshard(from, to, 500)
    await reshard(to, from, 500)
    await traffic.cached()
    expect(problemsIn(await traffic.stop())).toEqual([])
  })

  test(
    'a primary that hangs costs nothing to keys of the others, and its own come back when its replica takes over',
    { timeout: TIMEOUT_MS },
    async () => {
      const redis = await connect()
      await fill(redis, 60)
      const traffic = await startTraffic()
      await traffic.cached()
      const hung = await ownerOf(`${redis.settings.prefix}:clock`)
      hung.pause()
      atEnd(async () => hung.resume())
      const asked = async (): Promise<string> => {
        await found(redis, 60)
        return redis.status
      }
      await expect.poll(asked).toBe('degraded')
      const before = redis.counters.missed
      const still = await found(redis, 60)
      expect(still).toBeGreaterThan(10)
      expect(still).toBeLessThan(60)
      // Nobody waited for the one that hangs.
      expect(redis.counters.missed).toBe(before)
      await expect.poll(async () => (await cluster.primaries()).includes(hung), { timeout: 20_000 }).toBe(false)
      await expect.poll(() => redis.status, { timeout: 20_000 }).toBe('ready')
      await traffic.cached()
      hung.resume()
      await traffic.more(200)
      expect(problemsIn(await traffic.stop())).toEqual([])
    },
  )

  test(
    'a primary is killed under load, its replica takes over, and it comes back as a replica',
    { timeout: TIMEOUT_MS },
    async () => {
      const traffic = await startTraffic()
      await traffic.cached()
      const [killed] = (await cluster.primaries()) as [RedisServer]
      await killed.kill()
      await expect.poll(async () => (await cluster.primaries()).length, { timeout: 20_000 }).toBe(3)
      for (const { app } of traffic.services)
        await expect.poll(() => app.redis.status, { timeout: 20_000 }).toBe('ready')
      await traffic.cached()
      await killed.start()
      await traffic.more(200)
      expect(problemsIn(await traffic.stop())).toEqual([])
    },
  )

  test('wake-ups go on when the node that brought them is killed', { timeout: TIMEOUT_MS }, async () => {
    const settings = resolveSettings(
      { url: cluster.url, cluster: true, connectTimeout: '5s', commandTimeout: '5s' },
      {},
    )
    const connection = new Connection(settings, silentLogger)
    atEnd(() => connection.close())
    await connection.connect()
    const messages: string[] = []
    let resets = 0
    await connection.subscribe(
      'c',
      (message) => messages.push(String(message)),
      () => (resets += 1),
    )
    const listening = async (node: RedisServer): Promise<boolean> =>
      /^1$/m.test(await cluster.ask(node, 'PUBSUB', 'NUMSUB', 'c'))
    const [node] = (
      await Promise.all((await cluster.primaries()).map(async (one) => ((await listening(one)) ? [one] : [])))
    ).flat() as [RedisServer]
    await node.kill()
    await expect.poll(() => resets, { timeout: 10_000 }).toBeGreaterThan(0)
    await connection.execute(['PUBLISH', 'c', 'after'], undefined)
    await expect.poll(() => messages).toEqual(['after'])
    await node.start()
  })
}
