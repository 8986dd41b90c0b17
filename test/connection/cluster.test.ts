import type { RedisClusterType } from '@redis/client'
import { expect, test } from 'vitest'
import { freeClusterPort } from '../support/redis-cluster.js'
import { freePort, type RedisServer } from '../support/redis-server.js'
import { open, ownServer, refusal, until } from './open.js'

const CLUSTER = ['--cluster-enabled', 'yes']

/** One node that has all slots: a cluster to every client. */
async function clusterNode(port?: number): Promise<RedisServer> {
  const server = await ownServer({ port: port ?? (await freeClusterPort()), args: CLUSTER })
  const { connection } = open({ url: server.url, commandTimeout: '5s' })
  await connection.connect()
  await connection.execute(['CLUSTER', 'ADDSLOTSRANGE', '0', '16383'], undefined)
  // A new cluster takes two seconds before it writes.
  const state = async () => String(await connection.execute(['CLUSTER', 'INFO'], undefined))
  await expect.poll(state, { timeout: 15_000 }).toContain('cluster_state:ok')
  return server
}

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

test('a node that hangs costs its deadline, and then nothing', async () => {
  const server = await clusterNode()
  const { connection } = open({ url: server.url, cluster: true })
  await connection.connect()
  server.pause()
  const missed = await Promise.all([1, 2, 3].map(() => refusal(connection.execute(['GET', 'a'], 'a'))))
  expect(missed.map(({ reason }) => reason)).toEqual(['deadline', 'deadline', 'deadline'])
  expect((await refusal(connection.execute(['GET', 'a'], 'a'))).reason).toBe('breaker-open')
  server.resume()
  await until(connection, 'ready')
})
