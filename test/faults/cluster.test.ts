import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { silentLogger } from '../support/logger.js'
import type { RedisServer } from '../support/redis-server.js'
import { leave } from './leave.js'
import { atEnd, cluster, connect, fill, found, ownerOf, TIMEOUT_MS } from './on-cluster.js'

test('entries, groups and leases are spread over all primaries, and one call invalidates a group on all of them', async () => {
  const redis = await connect()
  await fill(redis, 60, ['all'])
  expect(await found(redis, 60)).toBe(60)
  for (const node of await cluster.primaries()) {
    expect(await cluster.ask(node, '--scan', '--pattern', `${redis.settings.prefix}:entry:*`)).not.toBe('')
    expect(await cluster.ask(node, '--scan', '--pattern', `${redis.settings.prefix}:group:*`)).not.toBe('')
  }
  expect(await redis.cache.deleteGroup('group-7')).toMatchObject({ confirmed: true })
  expect(await found(redis, 60)).toBe(59)
  await redis.cache.deleteGroup('all')
  expect(await found(redis, 60)).toBe(0)
})

test('one handler runs for a key over two processes, wherever the key lives', async () => {
  const [one, prefix] = [await connect(), randomUUID()]
  const other = createRedis({ ...settingsOf(one), logger: silentLogger })
  atEnd(() => other.close())
  await other.connect()
  let runs = 0
  const load = async (): Promise<number> => {
    runs += 1
    await new Promise((resolve) => setTimeout(resolve, 50))
    return runs
  }
  const keys = Array.from({ length: 12 }, (_, index) => `${prefix}-${index}`)
  await Promise.all(
    keys.flatMap((key) => [one, other, one, other].map((redis) => redis.cache.getOrSet(key, load, { ttl: 60 }))),
  )
  expect(runs).toBe(keys.length)
})

function settingsOf({ settings }: Redis) {
  return { url: cluster.url, cluster: true, prefix: settings.prefix }
}

test('any seed that answers is enough', async () => {
  const redis = await connect(`redis://127.0.0.1:1,127.0.0.1:2,127.0.0.1:${cluster.nodes[5]?.port}`)
  await fill(redis, 3)
  expect(await found(redis, 3)).toBe(3)
})

test('a process that closes leaves no socket and no timer', async () => {
  expect(await leave({ url: cluster.url, cluster: true, connectTimeout: '5s', commandTimeout: '5s' })).toEqual({
    stored: true,
    left: [],
  })
})

test(
  'one slot halfway: its keys are served, invalidated and filled all the same',
  { timeout: TIMEOUT_MS },
  async () => {
    const redis = await connect()
    await fill(redis, 1)
    const key = `${redis.settings.prefix}:entry:=key-0`
    const [name = key] = (
      await Promise.all(
        cluster.nodes.map((node) => cluster.ask(node, '--scan', '--pattern', `${redis.settings.prefix}:entry:*`)),
      )
    )
      .join('\n')
      .split('\n')
      .filter((line) => line !== '')
    const source = await ownerOf(name)
    const target = (await cluster.primaries()).find((node) => node !== source) as RedisServer
    const slot = (await cluster.ask(source, 'CLUSTER', 'KEYSLOT', name)).trim()
    await cluster.ask(target, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', await cluster.idOf(source))
    await cluster.ask(source, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', await cluster.idOf(target))
    await cluster.ask(source, 'MIGRATE', '127.0.0.1', String(target.port), name, '0', '5000')
    expect(await redis.cache.get('key-0')).toBe(0)
    // Its lease would be on the other side: nothing is stored, and the caller is served.
    await redis.cache.delete('key-0')
    expect(await redis.cache.getOrSet('key-0', () => 'new', { ttl: 60 })).toBe('new')
    for (const node of [target, source])
      await cluster.ask(node, 'CLUSTER', 'SETSLOT', slot, 'NODE', await cluster.idOf(target))
    const again = async (): Promise<unknown> => {
      await redis.cache.getOrSet('key-0', () => 'newer', { ttl: 60 })
      return redis.cache.get('key-0')
    }
    await expect.poll(again, { timeout: 10_000 }).toBe('newer')
  },
)
