import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { RedisClientType } from '@redis/client'
import { expect, test } from 'vitest'
import type { NodeRedis } from '../../src/redis/settings.js'
import { freePort } from '../support/redis-server.js'
import { open, ownServer, refusal, until } from './open.js'

test('without a server start() returns at once, and commands are refused, not queued', async () => {
  const { connection, lines } = open({ host: '127.0.0.1', port: await freePort() })
  connection.start()
  const error = await refusal(connection.execute(['SET', 'a', '1'], 'a'))
  expect(error.reason).toBe('not-ready')
  expect(connection.status).toBe('unavailable')
  await refusal(connection.connect())
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/^warn: redwell: Redis at 127\.0\.0\.1:\d+ is unavailable \(.*ECONNREFUSED.*\)/)
})

test('connect() without a server names the address and the cause', async () => {
  const port = await freePort()
  const { connection } = open({ url: `redis://u:secret-word@127.0.0.1:${port}`, connectTimeout: '100ms' })
  const error = await refusal(connection.connect())
  expect(error.message).toContain(`127.0.0.1:${port}`)
  expect(error.message).toContain('ECONNREFUSED')
  expect(inspect(error, { depth: 10 })).not.toContain('secret-word')
})

test('a server that comes later is used without a restart, and nothing refused before was sent to it', async () => {
  const port = await freePort()
  const { connection, lines } = open({ host: '127.0.0.1', port, commandTimeout: '5s' })
  connection.start()
  await refusal(connection.execute(['SET', 'refused', '1'], 'refused'))
  // The first attempt has failed, and was reported, before the server is there.
  await expect.poll(() => lines.length).toBe(1)
  await ownServer({ port })
  await until(connection, 'ready')
  expect(await connection.execute(['EXISTS', 'refused'], 'refused')).toBe(0)
  expect(lines).toHaveLength(2)
  expect(lines[1]).toMatch(/^info: redwell: Redis at .* is back after \d+ ms$/)
})

test('a server that was killed and started again is used again; each change is said once', async () => {
  const server = await ownServer()
  const { connection, statuses, lines } = open({ url: server.url, commandTimeout: '5s' })
  await connection.connect()
  for (let round = 0; round < 2; round++) {
    await server.kill()
    await until(connection, 'unavailable')
    for (let i = 0; i < 20; i++) expect((await refusal(connection.execute(['GET', 'a'], 'a'))).reason).toBe('not-ready')
    await server.start()
    await until(connection, 'ready')
    expect(await connection.execute(['GET', 'a'], 'a')).toBeNull()
  }
  expect(statuses).toEqual(['ready', 'unavailable', 'ready', 'unavailable', 'ready'])
  expect(lines.map((line) => line.slice(0, 4))).toEqual(['warn', 'info', 'warn', 'info'])
})

test('a command under way when the server dies is refused, not sent again', async () => {
  const server = await ownServer()
  const { connection } = open({ url: server.url, commandTimeout: '10s' })
  await connection.connect()
  server.pause()
  const errors = Promise.all([1, 2].map((n) => refusal(connection.execute(['RPUSH', 'list', String(n)], 'list'))))
  await new Promise((resolve) => setImmediate(resolve))
  await server.restart()
  expect((await errors).map(({ reason }) => reason)).toEqual(['error', 'error'])
  await until(connection, 'ready')
  expect(await connection.execute(['LLEN', 'list'], 'list')).toBe(0)
})

test('replies are bytes for us, and text for the application on the same client', async () => {
  const server = await ownServer()
  const { connection } = open({ url: server.url, commandTimeout: '5s' })
  await connection.connect()
  const bytes = Buffer.from([0xff, 0x00, 0x0d, 0x0a, 0xfe])
  await connection.execute(['SET', 'bytes', bytes], 'bytes')
  expect(await connection.execute(['GET', 'bytes'], 'bytes')).toEqual(bytes)
  const client = connection.client as RedisClientType
  await client.set('text', 'hällo')
  expect(await client.get('text')).toBe('hällo')
  expect(await connection.execute(['MGET', 'text', 'none'], 'text')).toEqual([Buffer.from('hällo'), null])
})

test('an error of the server is passed on as it is, and is no outage', async () => {
  const server = await ownServer()
  const { connection } = open({ url: server.url, commandTimeout: '5s' })
  await connection.connect()
  for (let i = 0; i < 10; i++)
    await expect(connection.execute(['NOSUCH'], undefined)).rejects.toThrow(/unknown command/)
  expect(connection.status).toBe('ready')
})

test('the server is told who asks', async () => {
  const server = await ownServer()
  const { connection } = open({ url: server.url, commandTimeout: '5s' })
  await connection.connect()
  const library = String(await connection.execute(['CLIENT', 'LIST'], undefined)).match(/lib-name=(\S*)/)?.[1]
  // Redis 7.2 is the first that keeps it.
  expect([undefined, 'node-redis(redwell)']).toContain(library)
})

test.each([2, 3] as const)('protocol %d works', async (resp) => {
  const server = await ownServer({ args: ['--requirepass', 'secret-word'] })
  const { connection } = open({ url: server.url.replace('//', '//:secret-word@'), resp, commandTimeout: '5s' })
  await connection.connect()
  await connection.execute(['SET', 'a', 'b'], 'a')
  expect(await connection.execute(['GET', 'a'], 'a')).toEqual(Buffer.from('b'))
})

test('a wrong password is a clear refusal that does not show it, and no end of the process', async () => {
  const server = await ownServer({ args: ['--requirepass', 'right'] })
  const { connection, lines } = open({ url: server.url.replace('//', '//:secret-word@'), connectTimeout: '100ms' })
  const error = await refusal(connection.connect())
  expect(error.message).toMatch(/WRONGPASS/)
  expect(inspect(error, { depth: 10, showHidden: true }) + lines.join('\n')).not.toContain('secret-word')
  expect(lines).toHaveLength(1)
})

test('a provider is asked again after each loss, so that a password can be changed', async () => {
  const server = await ownServer({ args: ['--requirepass', 'first'] })
  let password = 'first'
  let asked = 0
  const credentials = async () => {
    asked += 1
    return { password }
  }
  const { connection } = open({ url: server.url, credentials, commandTimeout: '5s' })
  await connection.connect()
  expect(asked).toBe(1)
  password = 'second'
  await connection.execute(['CONFIG', 'SET', 'requirepass', 'second'], undefined)
  await connection.execute(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no'], undefined).catch(() => {})
  await until(connection, 'unavailable')
  await until(connection, 'ready')
  expect(await connection.execute(['PING'], undefined)).toBe('PONG')
  expect(asked).toBeGreaterThan(1)
})

test('a provider that fails once does not keep the connection away', async () => {
  const server = await ownServer()
  let calls = 0
  const credentials = async () => {
    calls += 1
    if (calls === 1) throw new Error('the secret manager is away')
    return { password: '' }
  }
  const { connection, lines } = open({ url: server.url, credentials })
  await connection.connect()
  expect(lines.join('\n')).toMatch(/the secret manager is away[^]*is back/)
})

test('ping() gives milliseconds', async () => {
  const server = await ownServer()
  const { connection } = open({ url: server.url, commandTimeout: '5s' })
  await refusal(connection.ping())
  await connection.connect()
  expect(await connection.ping()).toBeGreaterThan(0)
})

test('close() finishes what is under way, refuses what comes later, and may be called twice', async () => {
  const server = await ownServer()
  const { connection, statuses } = open({ url: server.url, commandTimeout: '5s' })
  await connection.connect()
  const last = connection.execute(['SET', 'a', '1'], 'a')
  await Promise.all([connection.close(), connection.close()])
  expect(await last).toBe('OK')
  expect((await refusal(connection.execute(['GET', 'a'], 'a'))).reason).toBe('closed')
  expect((await refusal(connection.connect())).reason).toBe('closed')
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
  ).toBe('closed')
  expect(statuses).toEqual(['ready', 'closed'])
  expect((connection.client as NodeRedis).isOpen).toBe(false)
})

test('what takes several commands is finished by close()', async () => {
  const server = await ownServer()
  const { connection } = open({ url: server.url, commandTimeout: '5s' })
  await connection.connect()
  const steps = async (): Promise<unknown> => {
    for (const key of ['a', 'b', 'c']) await connection.execute(['SET', key, '1'], key)
    return connection.execute(['EXISTS', 'a', 'b', 'c'], 'a')
  }
  const [done] = await Promise.all([steps(), connection.close()])
  expect(done).toBe(3)
})

test('close() does not wait for a server that hangs', async () => {
  const server = await ownServer()
  const { connection } = open({ url: server.url })
  await connection.connect()
  server.pause()
  const last = refusal(connection.execute(['GET', 'a'], 'a'))
  await connection.close()
  expect(['deadline', 'error']).toContain((await last).reason)
  expect((connection.client as NodeRedis).isOpen).toBe(false)
})

/** Ends by itself only if nothing keeps it alive. */
const PROGRAM = `
  import { Connection } from './src/redis/connection.js'
  import { resolveSettings } from './src/redis/resolve-settings.js'
  const logger = { info() {}, warn() {}, error() {} }
  const connection = new Connection(resolveSettings({ url: process.argv[1] }, {}), logger)
  connection.start()
  if (process.argv[2] === 'up') {
    await connection.connect()
    await connection.subscribe('c', () => {}, () => {})
    await connection.execute(['PING'], undefined)
  }
  await connection.close()
`

test.each(['up', 'down'])('after close() nothing keeps the process alive (server %s)', async (state) => {
  const url = state === 'up' ? (await ownServer()).url : `redis://127.0.0.1:${await freePort()}`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', PROGRAM, url, state], {
    cwd: join(import.meta.dirname, '../..'),
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [code] = await once(child, 'exit')
  expect(code).toBe(0)
})

test('close() while the connection is being made leaves none behind', async () => {
  const server = await ownServer()
  const watcher = open({ url: server.url, commandTimeout: '5s' })
  await watcher.connection.connect()
  const { connection } = open({ url: server.url, socketTimeout: '1h' })
  connection.start()
  await connection.close()
  const seen = async () => String(await watcher.connection.execute(['INFO', 'stats'], undefined))
  await expect.poll(seen).toMatch(/total_connections_received:[2-9]/)
  await expect
    .poll(
      async () =>
        String(await watcher.connection.execute(['CLIENT', 'LIST'], undefined))
          .trim()
          .split('\n').length,
    )
    .toBe(1)
})
