import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { Connection } from '../../src/redis/connection.js'
import { CommandBudget } from '../../src/redis/deadline.js'
import { open, ownServer, refusal, until } from './open.js'

const DEADLINE_MS = 50
/** What a busy machine may add to a deadline. The whole hang would be many times this. */
const BOUND_MS = 2000

async function timed(connection: Connection): Promise<{ reason: string; ms: number }> {
  const startedAt = performance.now()
  const { reason } = await refusal(connection.execute(['GET', 'a'], 'a'))
  return { reason, ms: performance.now() - startedAt }
}

/** A server that answers in time on a busy machine, and one that hangs within the bound. */
async function setUp() {
  const server = await ownServer()
  const opened = open({ url: server.url, commandTimeout: DEADLINE_MS / 1000 })
  await opened.connection.connect()
  return { server, ...opened }
}

test('a server that hangs costs its deadline three times, and then nothing', async () => {
  const { server, connection, statuses, lines } = await setUp()
  server.pause()
  for (let i = 0; i < 3; i++) {
    const { reason, ms } = await timed(connection)
    expect(reason).toBe('deadline')
    expect(ms).toBeGreaterThanOrEqual(DEADLINE_MS - 1)
    expect(ms).toBeLessThan(BOUND_MS)
  }
  expect(connection.status).toBe('degraded')
  for (let i = 0; i < 1000; i++) expect((await timed(connection)).reason).toBe('breaker-open')
  expect(statuses).toEqual(['ready', 'degraded'])
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/does not answer in time/)
})

test('it is used again when it goes on, on the same connection, and the log says so once', async () => {
  const { server, connection, statuses, lines } = await setUp()
  server.pause()
  for (let i = 0; i < 3; i++) expect((await timed(connection)).reason).toBe('deadline')
  expect(connection.status).toBe('degraded')
  server.resume()
  await until(connection, 'ready')
  expect(await connection.execute(['PING'], undefined)).toBe('PONG')
  expect(statuses).toEqual(['ready', 'degraded', 'ready'])
  expect(lines).toHaveLength(2)
  expect(lines[1]).toMatch(/^info: .* is back after \d+ ms$/)
})

test('a silent connection is given up after the socket time-out, and a new one is made', async () => {
  const server = await ownServer()
  const { connection, statuses } = open({ url: server.url, socketTimeout: '300ms', connectTimeout: '300ms' })
  await connection.connect()
  server.pause()
  for (let i = 0; i < 3; i++) expect((await timed(connection)).reason).toBe('deadline')
  await until(connection, 'unavailable')
  server.resume()
  await until(connection, 'ready')
  expect(statuses.slice(0, 3)).toEqual(['ready', 'degraded', 'unavailable'])
  expect(await connection.execute(['PING'], undefined)).toBe('PONG')
})

test('what missed its deadline may still be answered: nobody is told twice', async () => {
  const { server, connection } = await setUp()
  server.pause()
  const missed = await Promise.all([1, 2, 3].map(() => refusal(connection.execute(['INCR', 'n'], 'n'))))
  expect(missed.map(({ reason }) => reason)).toEqual(['deadline', 'deadline', 'deadline'])
  server.resume()
  await until(connection, 'ready')
  expect(await connection.execute(['GET', 'n'], 'n')).toEqual(Buffer.from('3'))
})

test('many commands of one turn count as one miss: a large call alone does not open the breaker', async () => {
  const { server, connection, statuses } = await setUp()
  server.pause()
  await Promise.all(Array.from({ length: 100 }, () => timed(connection)))
  server.resume()
  expect(await connection.execute(['PING'], undefined)).toBe('PONG')
  expect(statuses).toEqual(['ready'])
})

test('commands behind a bulk call do not open the breaker, and a bulk call that is never answered is a miss', async () => {
  const { server, connection, statuses } = await setUp()
  server.pause()
  const bulk = refusal(connection.execute(['GET', 'a'], 'a', new CommandBudget(20 * DEADLINE_MS, true)))
  for (let i = 0; i < 5; i++) expect((await timed(connection)).reason).toBe('deadline')
  expect(statuses).toEqual(['ready'])
  expect((await bulk).reason).toBe('deadline')
  for (let i = 0; i < 2; i++) await timed(connection)
  expect(statuses).toEqual(['ready', 'degraded'])
})

test('a command that had only the rest of a budget does not count for the breaker', async () => {
  const { server, connection, statuses } = await setUp()
  server.pause()
  for (let i = 0; i < 5; i++) {
    const { reason } = await refusal(connection.execute(['GET', 'a'], 'a', new CommandBudget(DEADLINE_MS / 5)))
    expect(reason).toBe('deadline')
  }
  expect(statuses).toEqual(['ready'])
})

test('an event loop that was blocked is not an outage of Redis', async () => {
  const { connection, statuses } = await setUp()
  const replies = Promise.all(Array.from({ length: 20 }, (_, i) => connection.execute(['ECHO', String(i)], undefined)))
  // The driver writes at the end of this turn; the replies arrive while nobody reads.
  await new Promise((resolve) => setImmediate(resolve))
  const blockedUntil = performance.now() + 10 * DEADLINE_MS
  while (performance.now() < blockedUntil);
  expect(await replies).toHaveLength(20)
  expect(connection.counters.missed).toBe(0)
  expect(statuses).toEqual(['ready'])
})

/** In front of a server: every reply comes this much later. */
async function slowServer(delayMs: number) {
  const { port } = await ownServer()
  const delay = { ms: delayMs }
  const proxy = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    near.on('error', () => {}).on('close', () => far.destroy())
    far.on('error', () => {}).on('close', () => near.destroy())
    near.pipe(far)
    far.on('data', (chunk) => setTimeout(() => near.write(chunk), delay.ms))
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  onTestFinished(() => void proxy.close())
  return { url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`, delay }
}

test('a server that always answers too late is not tried for ever: late answers are not health', async () => {
  const { url, delay } = await slowServer(3 * DEADLINE_MS)
  const { connection, statuses } = open({ url, commandTimeout: DEADLINE_MS / 1000 })
  await connection.connect()
  // One by one, so that each late answer arrives between two misses.
  for (let i = 0; i < 3; i++) {
    expect((await timed(connection)).reason).toBe('deadline')
    await new Promise((resolve) => setTimeout(resolve, 3 * DEADLINE_MS))
  }
  expect(statuses).toEqual(['ready', 'degraded'])
  await new Promise((resolve) => setTimeout(resolve, 10 * DEADLINE_MS))
  expect(statuses).toEqual(['ready', 'degraded'])
  delay.ms = 0
  await until(connection, 'ready')
  expect(await connection.execute(['PING'], undefined)).toBe('PONG')
})
