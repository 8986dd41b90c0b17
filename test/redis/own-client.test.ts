import { createClient } from '@redis/client'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { sharedRedis } from '../support/redis-server.js'
import { open, ownServer, refusal, until } from './open.js'

let server: Awaited<ReturnType<typeof sharedRedis>>
beforeAll(async () => {
  server = await sharedRedis()
})
afterAll(() => server.close())

function ownClient(url = server.url) {
  const client = createClient({ url })
  client.on('error', () => {})
  onTestFinished(() => client.destroy())
  return client
}

test('a client that was given is used, and still open after close()', async () => {
  const client = ownClient()
  await client.connect()
  const { connection } = open({ client, commandTimeout: '5s' })
  await connection.connect()
  expect(connection.client).toBe(client)
  expect(await connection.execute(['ECHO', 'a'], undefined)).toEqual(Buffer.from('a'))
  await connection.close()
  expect(await client.echo('still here')).toBe('still here')
})

test('close() takes its listeners off again', async () => {
  const client = ownClient()
  await client.connect()
  const count = () => client.eventNames().reduce((sum, name) => sum + client.listenerCount(name as 'error'), 0)
  const before = count()
  const { connection } = open({ client, commandTimeout: '5s' })
  await connection.connect()
  const leave = await connection.subscribe(
    'c',
    () => {},
    () => {},
  )
  await leave()
  expect(count()).toBeGreaterThan(before)
  await connection.close()
  expect(count()).toBe(before)
})

test('one that is not connected is left to its owner, and used as soon as it is', async () => {
  const client = ownClient()
  const { connection } = open({ client, commandTimeout: '5s', connectTimeout: '50ms' })
  const error = await refusal(connection.connect())
  expect(error.message).toMatch(
    /the provided client is not connected \(call connect\(\) on the client that you passed\)/,
  )
  expect(client.isOpen).toBe(false)
  await client.connect()
  await until(connection, 'ready')
  expect(await connection.execute(['PING'], undefined)).toBe('PONG')
})

test('its own offline queue holds nothing of ours', async () => {
  const redis = await ownServer()
  const client = ownClient(redis.url)
  await client.connect()
  const { connection } = open({ client, commandTimeout: '5s' })
  await connection.connect()
  await redis.kill()
  await until(connection, 'unavailable')
  await refusal(connection.execute(['SET', 'queued', '1'], 'queued'))
  await redis.start()
  await until(connection, 'ready')
  expect(await connection.execute(['EXISTS', 'queued'], 'queued')).toBe(0)
})
