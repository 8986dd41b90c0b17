import type { RedisClusterType } from '@redis/client'
import { expect, test } from 'vitest'
import { freeClusterPort, redisCli } from '../support/redis-cluster.js'
import { freePort } from '../support/redis-server.js'
import { assignSlots, CLUSTER, clusterNode, open, ownServer, refusal, until } from './open.js'

test('a cluster is found from any node of the URL, and replies are bytes for us and text for the application', async () => {
  const server = await clusterNode()
  const url = `redis://127.0.0.1:${await freePort()},127.0.0.1:${server.port}`
  const { connection } = open({ url, cluster: true, commandTimeout: '5s' })
  await connection.connect()
  expect(connection.topology).toBe('cluster')
  await connection.execute(['SET', 'a', 'hällo'], 'a')
  expect(await connection.execute(['GET', 'a'], 'a')).toEqual(Buffer.from('hällo'))
  expect(await (connection.client as RedisClusterType).get('a')).toBe('hällo')
  expect(await connection.ping()).toBeGreaterThan(0)
})

test('a cluster that comes later is used without a restart', async () => {
  const port = await freeClusterPort()
  const { connection, lines } = open({ url: `redis://127.0.0.1:${port}`, cluster: true, commandTimeout: '5s' })
  connection.start()
  await expect.poll(() => lines.length).toBe(1)
  expect((await refusal(connection.execute(['GET', 'a'], 'a'))).reason).toBe('not-ready')
  await clusterNode(port)
  await until(connection, 'ready')
  expect(await connection.execute(['GET', 'a'], 'a')).toBeNull()
})

test('a cluster that is met before its slots are assigned is used once they are', async () => {
  const server = await ownServer({ port: await freeClusterPort(), args: CLUSTER })
  const { connection } = open({ url: server.url, cluster: true, commandTimeout: '5s' })
  connection.start()
  const met = async () =>
    /cmdstat_cluster\|(shards|slots)/.test(await redisCli('-p', String(server.port), 'INFO', 'commandstats'))
  await expect.poll(met).toBe(true)
  await assignSlots(server)
  await until(connection, 'ready')
  expect(await connection.execute(['GET', 'a'], 'a')).toBeNull()
})

test('messages arrive on a cluster', async () => {
  const server = await clusterNode()
  const { connection } = open({ url: server.url, cluster: true, commandTimeout: '5s' })
  await connection.connect()
  const messages: Buffer[] = []
  await connection.subscribe(
    'c',
    (message) => messages.push(message),
    () => {},
  )
  await connection.execute(['PUBLISH', 'c', 'hello'], undefined)
  await expect.poll(() => messages).toEqual([Buffer.from('hello')])
})

test('wake-ups go on when the whole cluster was away', async () => {
  const server = await clusterNode()
  const { connection } = open({ url: server.url, cluster: true, commandTimeout: '5s' })
  await connection.connect()
  const messages: Buffer[] = []
  let resets = 0
  await connection.subscribe(
    'c',
    (message) => messages.push(message),
    () => (resets += 1),
  )
  await server.kill()
  await until(connection, 'unavailable')
  // While no node is there an attempt to listen again fails, and must not be the last one.
  await new Promise((resolve) => setTimeout(resolve, 300))
  await server.start()
  await expect.poll(() => resets, { timeout: 15_000 }).toBe(1)
  await until(connection, 'ready')
  await connection.execute(['PUBLISH', 'c', 'after'], undefined)
  await expect.poll(() => messages).toEqual([Buffer.from('after')])
}, 30_000)

test('a node that hangs costs its deadline, and then nothing', async () => {
  const server = await clusterNode()
  const { connection } = open({ url: server.url, cluster: true })
  await connection.connect()
  server.pause()
  for (let i = 0; i < 3; i++) expect((await refusal(connection.execute(['GET', 'a'], 'a'))).reason).toBe('deadline')
  expect((await refusal(connection.execute(['GET', 'a'], 'a'))).reason).toBe('breaker-open')
  server.resume()
  await until(connection, 'ready')
})
