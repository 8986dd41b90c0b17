import { expect, onTestFinished, test } from 'vitest'
import Fastify from 'fastify'
import redwell from '../../src/adapters/fastify/index.js'
import { type Redis, type Session, SessionError, type SessionOptions } from '../../src/index.js'
import { subscribe } from '../../src/telemetry/events.js'
import { recordingLogger } from '../support/logger.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { handle, Jar } from './bed.js'
import { command, ready, secretOf } from './traces.js'

async function opened(sessions: SessionOptions = {}): Promise<{ server: RedisServer; redis: Redis; jar: Jar }> {
  const server = await startRedis()
  onTestFinished(() => server.close())
  const redis = await handle('redis', sessions, { url: server.url, commandTimeout: '50ms' })
  const jar = new Jar(redis)
  await jar.visit(({ data }) => Object.assign(data, { userId: 'ann', count: 1 }))
  return { server, redis, jar }
}

test.each(['hanging', 'down'] as const)(
  'Redis is %s: anonymous, changes are 503, the cookie stays; then all is as before',
  async (how) => {
    const { server, redis, jar } = await opened()
    const { cookie } = jar
    if (how === 'hanging') {
      server.pause()
      onTestFinished(() => server.resume())
    } else await server.stop()
    const session = await jar.load()
    expect([session.available, session.subject, session.data]).toEqual([false, undefined, {}])
    session.data.count = 2
    await expect(session.save()).rejects.toMatchObject({ statusCode: 503, reason: 'unavailable' })
    await expect(jar.visit(({ data }) => void (data.userId = 'bob'))).rejects.toThrow(SessionError)
    expect(jar.cookie).toBe(cookie)
    // A first visit: no cookie, so nothing is asked until something is written.
    const first = new Jar(redis)
    await first.visit(({ data }) => data.count)
    await expect(first.visit(({ data }) => void (data.count = 1))).rejects.toMatchObject({ statusCode: 503 })
    // Signing out clears the cookie, and says that the session may still be there.
    const out = await redis.sessions.load(cookie)
    await expect(out.end()).rejects.toMatchObject({ reason: 'unavailable' })
    expect(out.setCookie).toContain('Max-Age=0')
    // So does removing the principal, however it is written; another property is not the principal.
    const act = async (change: (session: Session) => unknown): Promise<unknown[]> => {
      const own = await redis.sessions.load(cookie)
      change(own)
      const result = await own.save().then(
        () => 'saved',
        (error: SessionError) => error.reason,
      )
      return [result, own.setCookie?.includes('Max-Age=0') ?? false]
    }
    for (const remove of [
      ({ data }: Session) => delete data.userId,
      ({ data }: Session) => void (data.userId = undefined),
      ({ data }: Session) => Object.assign(data, { userId: '', theme: 'dark' }),
      (it: Session) => it.regenerate({}),
    ])
      expect(await act(remove)).toEqual(['unavailable', true])
    for (const change of [
      ({ data }: Session) => delete data.theme,
      ({ data }: Session) => void (data.count = undefined),
      (it: Session) => it.rotate(),
      (it: Session) => {
        it.regenerate({})
        it.data.userId = 'ann'
      },
    ])
      expect(await act(change)).toEqual(['unavailable', false])
    await expect(redis.sessions.revokeAll('ann')).rejects.toThrow()
    if (how === 'down') return
    server.resume()
    await ready(redis)
  },
)

test('`fail` answers a request whose session cannot be read with 503', async () => {
  const { server, redis, jar } = await opened({ whenUnavailable: 'fail' })
  server.pause()
  onTestFinished(() => server.resume())
  await expect(jar.load()).rejects.toMatchObject({ statusCode: 503 })
  expect((await redis.sessions.load(undefined)).data).toEqual({})
})

test('a server that is full loads, ends and revokes sessions, and refuses changes', async () => {
  const { redis, jar } = await opened()
  const [bob, ...eves] = [new Jar(redis), new Jar(redis), new Jar(redis)]
  await bob.visit(({ data }) => Object.assign(data, { userId: 'bob', cart: ['a'] }))
  for (const eve of eves) await eve.visit(({ data }) => void (data.userId = 'eve'))
  await command(redis, 'CONFIG', 'SET', 'maxmemory', '1')
  expect((await jar.load()).data).toEqual({ userId: 'ann', count: 1 })
  const old = bob.cookie
  for (const change of [
    ({ data }: Session) => void (data.count = 2),
    ({ data }: Session) => void (data.userId = 'bob'),
    (session: Session) => session.rotate(),
  ])
    await expect(jar.visit(change)).rejects.toMatchObject({ statusCode: 503 })
  await jar.visit((session) => session.end())
  // Who signs out keeps the cart, under another id.
  await bob.visit(({ data }) => delete data.userId)
  expect((await bob.load()).data).toEqual({ cart: ['a'] })
  expect((await redis.sessions.load(old)).data).toEqual({})
  const [mine, theirs] = eves
  expect(await redis.sessions.revokeAll('eve', { except: await mine?.load() })).toBe(1)
  expect([(await mine?.load())?.subject, (await theirs?.load())?.subject]).toEqual(['eve', undefined])
  expect(await redis.sessions.revokeAll('eve')).toBe(1)
  // Before it is there.
  expect(await redis.sessions.storage.end('x'.repeat(22), undefined)).toBe(false)
  await command(redis, 'CONFIG', 'SET', 'maxmemory', '0')
  for (const user of ['ann', 'bob', 'eve']) expect(await redis.sessions.list(user)).toEqual([])
})

test('a server that is full, and a user that may not write, are named in the error and logged once for each change', async () => {
  const server = await startRedis()
  onTestFinished(() => server.close())
  let now = 0
  const logger = recordingLogger()
  const redis = await handle('redis', {}, { url: server.url, commandTimeout: '5s', logger, now: () => now })
  const jar = new Jar(redis)
  await jar.visit(({ data }) => Object.assign(data, { userId: 'ann', count: 0 }))
  const write = () => jar.visit(({ data }) => void (data.count = (data.count ?? 0) + 1))
  const said = () => logger.lines.filter((line) => line.includes('sessions: '))
  const full = () => command(redis, 'CONFIG', 'SET', 'maxmemory', '1')
  const roomy = () => command(redis, 'CONFIG', 'SET', 'maxmemory', '0')
  await full()
  for (let turn = 0; turn < 3; turn += 1)
    await expect(write()).rejects.toMatchObject({ statusCode: 503, message: expect.stringContaining('Redis is full') })
  // Reading works, and changes nothing about that.
  expect((await jar.load()).data.count).toBe(0)
  await expect(write()).rejects.toThrow('Redis is full')
  expect(said()).toEqual([expect.stringMatching(/write failed because Redis is full: OOM/)])
  await roomy()
  await write()
  // Full for a moment, now and then, is one state.
  await full()
  await expect(write()).rejects.toThrow('Redis is full')
  expect(said()).toHaveLength(1)
  await roomy()
  now += 61_000
  await write()
  await full()
  await expect(write()).rejects.toThrow('Redis is full')
  expect(said().slice(1)).toEqual([
    expect.stringMatching(/info: .*write works again/),
    expect.stringMatching(/warn: .*Redis is full/),
  ])
})

test('scripts that were flushed are sent again', async () => {
  const { redis, jar } = await opened()
  await command(redis, 'SCRIPT', 'FLUSH')
  await jar.visit(({ data }) => void (data.count = 2))
  await command(redis, 'SCRIPT', 'FLUSH')
  await jar.visit((session) => session.rotate())
  expect((await jar.load()).data).toEqual({ userId: 'ann', count: 2 })
})

test('a record of the subject that was evicted signs out, and a record of the session as well', async () => {
  const { redis, jar } = await opened()
  const { prefix } = redis.settings
  const [subject] = (await command(redis, 'KEYS', `${prefix}:subject:*}`)) as string[]
  await command(redis, 'DEL', String(subject))
  expect((await jar.load()).subject).toBeUndefined()
  await jar.visit(({ data }) => void (data.userId = 'ann'))
  expect((await jar.load()).subject).toBe('ann')
})

test('clocks of processes that are wrong by hours change nothing', async () => {
  const { redis, jar } = await opened({ idleTtl: '1h' })
  const now = Date.now.bind(Date)
  onTestFinished(() => void (Date.now = now))
  for (const skewMs of [86_400_000, -86_400_000]) {
    Date.now = () => now() + skewMs
    expect((await jar.load()).subject).toBe('ann')
    await jar.visit((session) => session.rotate())
    const other = new Jar(redis)
    await other.visit(({ data }) => void (data.userId = 'ann'))
    const devices = await redis.sessions.list('ann')
    expect(devices).toHaveLength(2)
    for (const { expiresAt } of devices) expect(Math.abs(expiresAt.getTime() - now() - 3_600_000)).toBeLessThan(90_000)
    expect(await redis.sessions.revokeAll('ann')).toBe(2)
    await jar.visit(({ data }) => void (data.userId = 'ann'))
  }
})

test('a copy of Redis signs nobody in, and no id is in keys, values, events, logs or errors', async () => {
  const { server, redis, jar } = await opened({ describe: () => 'Firefox' })
  const said: unknown[] = []
  const stop = subscribe('redwell:session', (event) => void said.push(event))
  onTestFinished(stop)
  const logger = recordingLogger()
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(redwell, { url: server.url, prefix: redis.settings.prefix, logger, sessions: {} })
  app.get('/', async ({ session }) => {
    session.data.count = (session.data.count ?? 0) + 1
    return session.subject
  })
  const cookies = [jar.cookie]
  await jar.visit((session) => session.rotate())
  cookies.push(jar.cookie)
  await app.inject({ url: '/', headers: { cookie: jar.cookie ?? '' } })
  await app.inject({ url: '/', headers: { cookie: cookies[0] ?? '' } }).then(({ body }) => said.push(body))
  said.push(await redis.sessions.list('ann'), redis.cache.stats(), logger.lines)
  const old = await redis.sessions.load(cookies[0])
  old.data.count = 9
  await old.save().catch((error: unknown) => said.push(String(error), error))
  const copied: string[] = []
  for (const key of (await command(redis, 'KEYS', '*')) as string[]) {
    const type = String(await command(redis, 'TYPE', key))
    const read = { hash: ['HGETALL', key], zset: ['ZRANGE', key, '0', '-1'], string: ['GET', key] }[type] ?? [
      'TYPE',
      key,
    ]
    copied.push(key, JSON.stringify(await command(redis, ...read)))
  }
  const everything = JSON.stringify([said, copied])
  for (const cookie of cookies) expect(everything).not.toContain(secretOf(cookie))
  // What was copied cannot be made a cookie of: no part of it opens the session.
  const parts = new Set(copied.join(' ').match(/[A-Za-z0-9_-]{22,}/g))
  for (const part of parts) {
    const forged = `__Host-session=${(part + 'A'.repeat(87)).slice(0, 86)}A`
    expect((await redis.sessions.load(forged)).subject).toBeUndefined()
  }
  expect(JSON.stringify(said)).toContain('"operation":"load"')
})
