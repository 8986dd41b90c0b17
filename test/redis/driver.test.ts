import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createClient, createCluster, createSentinel, type RedisSentinelType } from '@redis/client'
import { expect, onTestFinished, test } from 'vitest'
import { SettingsError } from '../../src/errors.js'
import {
  checkClient,
  connectNode,
  DRIVER_RANGE,
  duplicateOnce,
  isCluster,
  isSentinel,
  masterOf,
  primariesOf,
  primaryFor,
  sender,
} from '../../src/redis/driver.js'
import { isReply } from '../../src/redis/port.js'
import type { NodeRedis } from '../../src/redis/settings.js'
import { SentinelTrio } from '../support/redis-sentinel.js'
import { clusterNode, ownServer } from './open.js'

const require = createRequire(import.meta.url)

/** Members of the driver that its documentation does not promise. A new version of it is taken over only through here. */
test('the range of driver versions is one minor version, the same in package.json, and the installed one is in it', () => {
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
  expect(dependencies['@redis/client']).toBe(DRIVER_RANGE)
  const [, major, minor, patch] = /^~(\d+)\.(\d+)\.(\d+)$/.exec(DRIVER_RANGE) ?? []
  const installed = require('@redis/client/package.json').version.split('.')
  expect(installed.slice(0, 2)).toEqual([major, minor])
  expect(Number(installed[2])).toBeGreaterThanOrEqual(Number(patch))
})

test('a client: a view of it sends over the same connection and replies with bytes, without a time-out', async () => {
  const server = await ownServer()
  const client = createClient({ url: server.url })
  onTestFinished(() => client.destroy())
  await client.connect()
  checkClient(client)
  expect([isCluster(client), isSentinel(client)]).toEqual([false, false])
  const send = sender(client)
  expect(await send(['SET', 'a', 'ä'])).toBe('OK')
  expect(await send(['GET', 'a'])).toEqual(Buffer.from('ä'))
  expect(await send(['CLIENT', 'ID'])).toBe(await client.clientId())
  expect(await client.get('a')).toBe('ä')
  const error: unknown = await send(['NOTHING']).catch((reason: unknown) => reason)
  expect(isReply(error)).toBe(true)
  expect(isReply(new Error('no reply'))).toBe(false)
})

test('a duplicate that does not reconnect says so by "terminated"', async () => {
  const server = await ownServer()
  const client = createClient({ url: server.url })
  client.on('error', () => {})
  onTestFinished(() => client.destroy())
  const once = duplicateOnce(client)
  const events: string[] = []
  once.on('error', () => events.push('error'))
  const terminated = new Promise((resolve) => once.on('terminated', resolve))
  await once.connect()
  await server.kill()
  await terminated
  expect(events).toContain('error')
  expect(once.isReady).toBe(false)
})

test('a cluster: its primaries, the primary of a key, and the client of a node that is connected when asked', async () => {
  const server = await clusterNode()
  const cluster = createCluster({ rootNodes: [{ url: server.url }], minimizeConnections: true })
  cluster.on('error', () => {})
  onTestFinished(() => cluster.destroy())
  await cluster.connect()
  checkClient(cluster)
  expect([isCluster(cluster), isSentinel(cluster)]).toEqual([true, false])
  const [node] = primariesOf(cluster)
  if (node === undefined) throw new Error('no primary')
  // A node that has met no other does not know its own host.
  expect(node.address).toMatch(new RegExp(`:${server.port}$`))
  expect(primaryFor(cluster, 'a')).toBe(node)
  expect(node.client).toBeUndefined()
  connectNode(cluster, node)
  // Both mean that a second call has nothing to do.
  const { connectPromise } = node
  expect(connectPromise).toBeInstanceOf(Promise)
  connectNode(cluster, node)
  expect(node.connectPromise).toBe(connectPromise)
  await connectPromise
  if (node.client === undefined) throw new Error('no client')
  expect(node.client.isReady).toBe(true)
  expect(await sender(node.client)(['ECHO', 'a'])).toEqual(Buffer.from('a'))
})

test('sentinels: their own client of the master', { timeout: 30_000 }, async () => {
  const trio = await SentinelTrio.start()
  onTestFinished(() => trio.close())
  const sentinelRootNodes = trio.sentinels.map(({ port }) => ({ host: '127.0.0.1', port }))
  const sentinel: RedisSentinelType = createSentinel({ name: 'mymaster', sentinelRootNodes })
  sentinel.on('error', () => {})
  onTestFinished(async () => void (await sentinel.destroy()))
  await sentinel.connect()
  checkClient(sentinel)
  expect([isCluster(sentinel), isSentinel(sentinel)]).toEqual([false, true])
  const client = await masterOf(sentinel)
  expect([client.isOpen, client.isReady]).toEqual([true, true])
  expect(String(await sender(client)(['INFO', 'server']))).toContain(`tcp_port:${(await trio.master()).port}`)
})

test('a client that lacks a member is refused by name', () => {
  const other = { isReady: true, get: () => {} } as unknown as NodeRedis
  expect(() => checkClient(other)).toThrow(SettingsError)
  expect(() => checkClient(other)).toThrow(
    /client: is not a client of @redis\/client ~6.3.1; it lacks withCommandOptions, sendCommand, duplicate/,
  )
})
