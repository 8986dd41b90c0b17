import { expect, test } from 'vitest'
import { RedisStore } from '../../src/store/redis-store.js'
import { slotOf } from '../../src/redis/command.js'
import { open, ownServer } from '../redis/open.js'
import { makeEntry } from '../support/entries.js'

/** Two masters that share the slots; gives the URL of one of them. */
async function twoMasters(): Promise<string> {
  const args = ['--cluster-enabled', 'yes']
  const [one, two] = [await ownServer({ args }), await ownServer({ args })]
  const [first, second] = [one, two].map(({ url }) => open({ url, commandTimeout: '5s' }).connection)
  await Promise.all([first!.connect(), second!.connect()])
  await first!.execute(['CLUSTER', 'ADDSLOTSRANGE', '0', '3000', '9001', '16383'], undefined)
  await second!.execute(['CLUSTER', 'ADDSLOTSRANGE', '3001', '9000'], undefined)
  await first!.execute(['CLUSTER', 'MEET', '127.0.0.1', String(two.port)], undefined)
  for (const node of [first!, second!]) {
    const state = async () => String(await node.execute(['CLUSTER', 'INFO'], undefined))
    await expect.poll(state, { timeout: 15_000 }).toContain('cluster_state:ok')
  }
  return one.url
}

test('patterns and sweeps go through all masters of a cluster', async () => {
  const { connection } = open({ url: await twoMasters(), cluster: true, commandTimeout: '5s' })
  await connection.connect()
  const store = new RedisStore(connection, 'test')
  const keys = Array.from({ length: 60 }, (_, n) => `value:n:${n}`)
  for (const key of keys) await store.set(key, makeEntry({ groups: ['', 'g'] }), Infinity)
  const found = new Set<string>()
  let cursor = '0'
  do {
    const step = await store.match('entries', 'value:n:*', cursor, 5)
    for (const key of step.keys) found.add(key)
    cursor = step.cursor
  } while (cursor !== '0')
  expect(found).toEqual(new Set(keys))
  await store.invalidate(['g'], 'hard')
  let removed = 0
  do {
    const step = await store.sweep(cursor, 5, Date.now())
    removed += step.removed
    cursor = step.cursor
  } while (cursor !== '0')
  expect(removed).toBe(60)
})

test('slots are those of the cluster specification', () => {
  expect([slotOf('123456789'), slotOf('foo'), slotOf('')]).toEqual([12739, 12182, 0])
})
