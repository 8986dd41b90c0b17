import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { createRedis, type Redis, type RedisSettings, SessionError } from '../../src/index.js'
import { connect, setUp } from '../faults/fail-over.js'
import { silentLogger } from '../support/logger.js'
import { RedisCluster, redisCli } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-server.js'
import { SentinelTrio } from '../support/redis-sentinel.js'
import { Jar } from './bed.js'
import { ready } from './traces.js'

/** A primary that dies, and its replica in its place. `lags`: what happens meanwhile does not reach the replica. */
async function failedOver(settings: RedisSettings, lags: boolean, meanwhile: (jar: Jar) => Promise<unknown>) {
  const { primary, replica, link, address } = await setUp()
  const redis = await connect(address, { prefix: `failover:${randomUUID()}`, commandTimeout: '500ms', ...settings })
  const jar = new Jar(redis)
  await jar.visit(({ data }) => void (data.userId = 'ann'))
  const { cookie } = jar
  const offsets = async (): Promise<boolean> => {
    const info = await redisCli('-p', String(primary.port), 'INFO', 'replication')
    return /offset=(\d+)/.exec(info)?.[1] === /master_repl_offset:(\d+)/.exec(info)?.[1]
  }
  await expect.poll(offsets, { timeout: 10_000 }).toBe(true)
  if (lags) link.silence()
  const result = await meanwhile(jar).then(
    () => 'done',
    (error: Error) => (error instanceof SessionError ? error.reason : error.name),
  )
  await primary.kill()
  await redisCli('-p', String(replica.port), 'REPLICAOF', 'NO', 'ONE')
  address.leadTo(replica.port).cut()
  await redis.connect()
  return { result, after: (await redis.sessions.load(cookie)).subject }
}

const signOut = (jar: Jar): Promise<unknown> => jar.visit((session) => session.end())
const revokeAll = (jar: Jar): Promise<unknown> => jar.redis.sessions.revokeAll('ann')

describe('a failover', { timeout: 60_000 }, () => {
  test('keeps sessions that the replica has', async () => {
    expect(await failedOver({}, false, async () => {})).toEqual({ result: 'done', after: 'ann' })
  })

  test.each([
    ['end', signOut],
    ['revokeAll', revokeAll],
  ])('with waitForReplicas, what %s has ended stays ended', async (_, how) => {
    expect(await failedOver({ waitForReplicas: 1 }, false, how)).toEqual({ result: 'done', after: undefined })
  })

  test.each([
    ['end', signOut, 'unavailable'],
    ['revokeAll', revokeAll, 'UnavailableError'],
  ])(
    'with waitForReplicas, %s rejects where the replica lags, since the session may come back',
    async (_, how, says) => {
      expect(await failedOver({ waitForReplicas: 1 }, true, how)).toEqual({ result: says, after: 'ann' })
    },
  )

  test('without it, a sign-out that the replica has not seen is lost, as the page says', async () => {
    expect(await failedOver({}, true, signOut)).toEqual({ result: 'done', after: 'ann' })
  })
})

describe('on managed servers', { timeout: 90_000 }, () => {
  const cleanups: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
  })

  const open = async (settings: RedisSettings): Promise<Redis> => {
    const redis = createRedis({ prefix: 'managed', logger: silentLogger, connectTimeout: '10s', ...settings })
    cleanups.push(() => redis.close())
    return redis.connect()
  }

  async function signedIn(redis: Redis): Promise<Jar> {
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.userId = 'ann'))
    return jar
  }

  test('Sentinel: sessions go on with the new master, and are ended there', async () => {
    const trio = await SentinelTrio.start()
    cleanups.push(() => trio.close())
    const redis = await open({ sentinel: { nodes: trio.nodes }, socketTimeout: '1s', commandTimeout: '2s' })
    const jar = await signedIn(redis)
    await jar.visit(({ data }) => void (data.count = 1))
    const before = await trio.master()
    await trio.failover()
    await expect.poll(async () => (await trio.master()).port, { timeout: 30_000 }).not.toBe(before.port)
    // Requests during the failover are anonymous or refused, and none is answered wrongly.
    await expect.poll(async () => (await jar.load()).data, { timeout: 30_000 }).toEqual({ userId: 'ann', count: 1 })
    await expect
      .poll(() => jar.visit(({ data }) => void (data.count = 2)).then(() => 'saved', String), { timeout: 30_000 })
      .toBe('saved')
    await redis.sessions.revokeAll('ann')
    expect((await jar.load()).subject).toBeUndefined()
  })

  test('a cluster: an application signs in, lists and revokes; a primary that dies takes nobody out', async () => {
    const cluster = await RedisCluster.start()
    cleanups.push(() => cluster.close())
    const redis = await open({ url: cluster.url, cluster: true, commandTimeout: '2s' })
    const jars = await Promise.all(Array.from({ length: 12 }, () => signedIn(redis)))
    expect(await redis.sessions.list('ann')).toHaveLength(12)
    const [first] = await redis.sessions.list('ann', { current: await jars[0]?.load() })
    expect(await redis.sessions.revoke('ann', first?.handle ?? '')).toBe(true)
    const alive = async (): Promise<number> => {
      const subjects = await Promise.all(jars.map(async (jar) => (await jar.load()).subject))
      return subjects.filter((subject) => subject === 'ann').length
    }
    expect(await alive()).toBe(11)
    const [primary] = await cluster.primaries()
    await primary?.kill()
    await expect.poll(alive, { timeout: 60_000, interval: 500 }).toBe(11)
    expect(await redis.sessions.revokeAll('ann')).toBe(11)
    expect(await alive()).toBe(0)
  })

  test('a server that restarts with its data has its sessions', async () => {
    const server = await startRedis({ persistent: true })
    onTestFinished(() => server.close())
    const redis = await open({ url: server.url, commandTimeout: '2s' })
    const jar = await signedIn(redis)
    await server.stop()
    expect((await jar.load()).available).toBe(false)
    await server.start()
    await ready(redis)
    expect((await jar.load()).subject).toBe('ann')
  })
})
