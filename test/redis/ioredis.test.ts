import { Redis as IoRedis } from 'ioredis'
import { Redis as IoRedis5 } from 'ioredis5'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createRedis } from '../../src/index.js'
import { isReply } from '../../src/redis/port.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'
import { open, ownServer, refusal, until } from './open.js'

let server: Awaited<ReturnType<typeof sharedRedis>>
beforeAll(async () => {
  server = await sharedRedis()
})
afterAll(() => server.close())

describe.each([
  ['ioredis 6', IoRedis],
  ['ioredis 5', IoRedis5 as unknown as typeof IoRedis],
])('a client of %s that was given', (_, Client) => {
  function ownClient(url = server.url, options: object = {}) {
    const client = new Client(url, { lazyConnect: true, ...options })
    client.on('error', () => {})
    onTestFinished(() => client.disconnect())
    return client
  }

  test('is used with replies as bytes, and still open after close()', async () => {
    const client = ownClient()
    await client.connect()
    const { connection } = open({ client, commandTimeout: '5s' })
    await connection.connect()
    expect([connection.client, connection.topology]).toEqual([client, 'standalone'])
    expect(await connection.execute(['SET', 'redwell:io', 'ä'], 'redwell:io')).toEqual(Buffer.from('OK'))
    expect(await connection.execute(['GET', 'redwell:io'], 'redwell:io')).toEqual(Buffer.from('ä'))
    const error: unknown = await connection.execute(['NOTHING'], undefined).catch((reason: unknown) => reason)
    expect(isReply(error)).toBe(true)
    await connection.close()
    expect(await client.echo('still here')).toBe('still here')
  })

  test('has none of our listeners after close()', async () => {
    const client = ownClient()
    await client.connect()
    const count = () => client.eventNames().reduce((sum, name) => sum + client.listenerCount(name), 0)
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

  test('is left to its owner where it is not connected, and used as soon as it is', async () => {
    const client = ownClient()
    const { connection } = open({ client, commandTimeout: '5s', connectTimeout: '50ms' })
    const error = await refusal(connection.connect())
    expect(error.message).toMatch(
      /the provided client is not connected \(call connect\(\) on the client that you passed\)/,
    )
    await client.connect()
    await until(connection, 'ready')
    expect(String(await connection.execute(['PING'], undefined))).toBe('PONG')
  })

  test('holds nothing of ours in its offline queue', async () => {
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

  test.each([true, false])(
    'loses what is under way with its connection, at once (autoResendUnfulfilledCommands: %s)',
    async (autoResendUnfulfilledCommands) => {
      const redis = await ownServer()
      const client = ownClient(redis.url, { autoResendUnfulfilledCommands })
      await client.connect()
      const { connection } = open({ client, commandTimeout: '60s' })
      await connection.connect()
      redis.pause()
      const command = refusal(connection.execute(['GET', 'lost'], 'lost'))
      await redis.kill()
      expect((await command).message).toMatch(/its reply was lost/)
    },
  )

  test('leaves no connection behind where messages could not be had', async () => {
    const redis = await ownServer({ args: ['--maxclients', '1'] })
    const client = ownClient(redis.url, { retryStrategy: () => 10 })
    await client.connect()
    const { connection } = open({ client, commandTimeout: '5s' })
    await connection.connect()
    for (let attempt = 0; attempt < 3; attempt += 1)
      await refusal(
        connection.subscribe(
          'c',
          () => {},
          () => {},
        ),
      )
    await client.config('SET', 'maxclients', '100')
    await connection.subscribe(
      'c',
      () => {},
      () => {},
    )
    // A client that goes on trying would be there within 10 ms.
    await expect.poll(() => client.client('LIST')).toMatch(/sub=1/)
    for (let ask = 0; ask < 20; ask += 1) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      expect(
        String(await client.client('LIST'))
          .trim()
          .split('\n'),
      ).toHaveLength(2)
    }
  })

  test('has messages on a second connection, which tells when some may be missing', async () => {
    const redis = await ownServer()
    const client = ownClient(redis.url)
    await client.connect()
    const { connection } = open({ client, commandTimeout: '5s' })
    await connection.connect()
    const heard: string[] = []
    const reset = new Promise<void>((resolve) => {
      void connection.subscribe('c', (message) => heard.push(String(message)), resolve)
    })
    await expect.poll(() => client.publish('c', 'first')).toBe(1)
    await expect.poll(() => heard).toContain('first')
    await redis.restart()
    await reset
    await until(connection, 'ready')
    expect(await client.publish('c', 'second')).toBe(1)
    await expect.poll(() => heard).toContain('second')
  })

  test.each([
    [{ keyPrefix: 'app:' }, /client: has keyPrefix 'app:'/],
    [{ stringNumbers: true }, /client: has stringNumbers/],
  ])('is refused with %j, which changes keys or replies', (options, message) => {
    expect(() => createRedis({ client: ownClient(server.url, options), logger: silentLogger })).toThrow(message)
  })

  test('is refused with a near cache, which it cannot keep true', () => {
    const settings = { client: ownClient(), near: { maxBytes: 1024 * 1024 }, logger: silentLogger }
    expect(() => createRedis(settings)).toThrow(/near: needs the driver of redwell/)
  })

  test('caches, and is not what redis.client promises', async () => {
    const redis = createRedis({
      client: ownClient(),
      logger: silentLogger,
      prefix: 'test:ioredis',
      commandTimeout: '5s',
    })
    onTestFinished(() => redis.close())
    expect(() => redis.client).toThrow(/one of ioredis/)
  })
})
