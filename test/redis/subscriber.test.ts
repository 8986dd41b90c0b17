import { randomUUID } from 'node:crypto'
import type { RedisClientType } from '@redis/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sharedRedis } from '../support/redis-server.js'
import { open, ownServer, refusal, until } from './open.js'

let shared: Awaited<ReturnType<typeof sharedRedis>>
beforeAll(async () => {
  shared = await sharedRedis()
})
afterAll(() => shared.close())

/** Messages as they come, to be awaited one by one. */
function inbox() {
  const all: string[] = []
  return { all, listener: (message: Buffer) => void all.push(message.toString('latin1')) }
}

async function ready(settings: { url: string; maxConnections?: number }) {
  const { url, maxConnections } = settings
  const opened = open({ url, maxConnections, commandTimeout: '5s' })
  await opened.connection.connect()
  const publish = (channel: string, message: string | Buffer) =>
    opened.connection.execute(['PUBLISH', channel, message], undefined)
  return { ...opened, publish }
}

test('a message that is published after the subscription is confirmed arrives, as bytes', async () => {
  const { connection, publish } = await ready(shared)
  const channel = randomUUID()
  const messages: Buffer[] = []
  await connection.subscribe(
    channel,
    (message) => messages.push(message),
    () => {},
  )
  expect(await publish(channel, Buffer.from([0xff, 0x00]))).toBe(1)
  await expect.poll(() => messages).toEqual([Buffer.from([0xff, 0x00])])
})

test('the second connection is opened for the first subscription, and is the only one', async () => {
  const server = await ownServer()
  const { connection } = await ready(server)
  const clients = async () =>
    Number(/connected_clients:(\d+)/.exec(String(await connection.execute(['INFO', 'clients'], undefined)))?.[1])
  expect(await clients()).toBe(1)
  for (let i = 0; i < 3; i++)
    await connection.subscribe(
      randomUUID(),
      () => {},
      () => {},
    )
  expect(await clients()).toBe(2)
})

test('whoever left hears nothing; others of the same channel do', async () => {
  const { connection, publish } = await ready(shared)
  const channel = randomUUID()
  const [one, two] = [inbox(), inbox()]
  const leave = await connection.subscribe(channel, one.listener, () => {})
  await connection.subscribe(channel, two.listener, () => {})
  await leave()
  await publish(channel, 'a')
  await expect.poll(() => two.all).toEqual(['a'])
  expect(one.all).toEqual([])
})

test('a subscription survives a restart, and its owner is told that messages may be missing', async () => {
  const server = await ownServer()
  const { connection, publish, lines } = await ready(server)
  const { all, listener } = inbox()
  let resets = 0
  await connection.subscribe('c', listener, () => (resets += 1))
  await server.restart()
  await expect.poll(() => resets, { timeout: 10_000 }).toBe(1)
  await until(connection, 'ready')
  expect(await publish('c', 'after')).toBe(1)
  await expect.poll(() => all).toEqual(['after'])
  expect(lines.filter((line) => line.includes('for notifications'))).toHaveLength(1)
})

test('when only the second connection is lost, its owner is told too', async () => {
  const server = await ownServer()
  const { connection, publish, statuses } = await ready(server)
  const { all, listener } = inbox()
  let resets = 0
  await connection.subscribe('c', listener, () => (resets += 1))
  await connection.execute(['CLIENT', 'KILL', 'TYPE', 'pubsub'], undefined)
  await expect.poll(() => resets, { timeout: 10_000 }).toBe(1)
  expect(await publish('c', 'after')).toBe(1)
  await expect.poll(() => all).toEqual(['after'])
  expect(statuses).toEqual(['ready'])
})

test('whoever left is not told of a reset, and leaving while Redis is away does not wait', async () => {
  const server = await ownServer()
  const { connection } = await ready(server)
  let resets = 0
  let kept = 0
  const leave = await connection.subscribe(
    'a',
    () => {},
    () => (resets += 1),
  )
  await connection.subscribe(
    'b',
    () => {},
    () => (kept += 1),
  )
  await server.kill()
  await until(connection, 'unavailable')
  await leave()
  await server.start()
  await expect.poll(() => kept, { timeout: 10_000 }).toBe(1)
  expect(resets).toBe(0)
})

test('without a server a subscription is refused at once', async () => {
  const { connection } = open({ host: '127.0.0.1', port: 1 })
  expect(
    (
      await refusal(
        connection.subscribe(
          'c',
          () => {},
          () => {},
        ),
      )
    ).reason,
  ).toBe('not-ready')
})

test('a server that hangs does not keep a subscriber waiting', async () => {
  const server = await ownServer()
  const { connection } = await ready(server)
  await connection.subscribe(
    'first',
    () => {},
    () => {},
  )
  server.pause()
  expect(
    (
      await refusal(
        connection.subscribe(
          'c',
          () => {},
          () => {},
        ),
      )
    ).reason,
  ).toBe('deadline')
})

test('with one connection allowed there are no subscriptions', async () => {
  const { connection } = await ready({ ...shared, maxConnections: 1 })
  const error = await refusal(
    connection.subscribe(
      'c',
      () => {},
      () => {},
    ),
  )
  expect(error.message).toMatch(/maxConnections is 1/)
})

test('the application may subscribe on the client as it likes', async () => {
  const { connection } = await ready(shared)
  const channel = randomUUID()
  const other = (connection.client as RedisClientType).duplicate()
  await other.connect()
  const texts: string[] = []
  await other.subscribe(channel, (message) => void texts.push(message))
  await (connection.client as RedisClientType).publish(channel, 'hällo')
  await expect.poll(() => texts).toEqual(['hällo'])
  await other.close()
})
