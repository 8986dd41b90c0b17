import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { run } from '../../src/cli/program.js'
import { createRedis, type Redis } from '../../src/create-redis.js'
import type { RedisOptions } from '../../src/index.js'
import { diagnose, type Finding } from '../../src/operate/doctor.js'
import { silentLogger } from '../support/logger.js'
import { freePort, type RedisServer, startRedis } from '../support/redis-server.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import { buildShop } from './shop.js'

let server: RedisServer
let admin: Redis
beforeAll(async () => {
  server = await startRedis({ args: ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1'] })
  admin = await open()
})
afterAll(async () => {
  await admin.close()
  await server.close()
})

const prefix = `doctor-${randomUUID().slice(0, 8)}`

async function open(options: RedisOptions = {}): Promise<Redis> {
  const given = { url: server.url, prefix, logger: silentLogger, commandTimeout: '5s', operate: false } as const
  const redis = createRedis({ ...given, trustRestarts: true, ...options })
  await redis.connect()
  return redis
}

const command = (...args: string[]) => admin.connection?.inspect(args, undefined)

/** Findings of one look, by what they are about; the same look serves several tests of one state of the server. */
async function look(options: RedisOptions = {}): Promise<ReadonlyMap<string, Finding>> {
  const redis = await open(options)
  onTestFinished(() => redis.close())
  const { findings } = await diagnose(redis)
  return new Map(findings.map((finding) => [finding.about.replace(/ of (127|').*/, ''), finding]))
}

test('all is well: nothing to do', async () => {
  await command('CONFIG', 'SET', 'maxmemory', '100mb')
  await command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  const found = await look()
  expect([...found.values()].filter(({ level }) => level !== 'ok')).toEqual([])
  expect([...found.keys()]).toEqual([
    ...['connection', 'version', 'memory', 'round trip', 'clock', 'permissions', 'tracking', 'processes'],
  ])
})

test.each([
  ['0', 'noeviction', 'no maxmemory', 'Set maxmemory'],
  ['100mb', 'noeviction', 'of 100.0 MiB used, noeviction', 'allkeys-lru: a full server stores nothing more'],
  ['100mb', 'volatile-ttl', 'of 100.0 MiB used, volatile-ttl', 'allkeys-lru: entries without a lifetime'],
])('memory of %s with %s', async (maxMemory, policy, says, advice) => {
  await command('CONFIG', 'SET', 'maxmemory', maxMemory)
  await command('CONFIG', 'SET', 'maxmemory-policy', policy)
  expect((await look()).get('memory')).toMatchObject({
    ...{ level: 'warning', found: expect.stringContaining(says), advice: expect.stringContaining(advice) },
  })
})

test('nearly full memory, by how it evicts; too many clients', async () => {
  const info = String(await command('INFO', 'memory'))
  const used = Number(/used_memory:(\d+)/.exec(info)?.[1])
  await command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
  await command('CONFIG', 'SET', 'maxmemory', String(Math.round(used * 0.9)))
  await command('CONFIG', 'SET', 'maxclients', '1')
  onTestFinished(async () => {
    await command('CONFIG', 'SET', 'maxmemory', '100mb')
    await command('CONFIG', 'SET', 'maxclients', '1000')
  })
  const { findings } = await diagnose(admin)
  expect(findings.find(({ about }) => about.startsWith('memory'))).toMatchObject({
    ...{
      level: 'problem',
      found: expect.stringContaining('noeviction'),
      advice: expect.stringContaining('allkeys-lru'),
    },
  })
  expect(findings.find(({ about }) => about === 'processes')).toMatchObject({
    ...{ level: 'problem', found: expect.stringContaining('OOM') },
  })
  expect(findings.find(({ about }) => about.startsWith('clients'))?.level).toBe('problem')
})

test('a permission that the user lacks is named, with the rule that grants it', async () => {
  await command('ACL', 'SETUSER', 'app', 'on', '>pw', '~*', '&*', '+@all', '-eval', '-publish', '-client|tracking')
  const found = await look({ url: server.url.replace('//', '//app:pw@') })
  expect(found.get('permissions')).toMatchObject({
    ...{ level: 'problem', found: 'refused: +eval, +publish', advice: 'ACL SETUSER app +eval +publish' },
  })
  expect(found.get('tracking')).toMatchObject({ found: expect.stringContaining('+client|tracking') })
})

test('clocks that differ, and round trips that are slow or too slow', async () => {
  const proxy = await TcpProxy.to(server.port)
  onTestFinished(() => proxy.close())
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 7000 })
  onTestFinished(() => void vi.useRealTimers())
  const away = await open({ url: proxy.url })
  proxy.slow(15)
  const slow = await diagnose(away, { settings: { ...away.settings, commandTimeoutMs: 60 } })
  await away.close()
  expect(slow.findings.find(({ about }) => about === 'clock')).toMatchObject({
    ...{
      level: 'warning',
      found: expect.stringMatching(/differ by (69|70)\d\d ms/),
      advice: expect.stringContaining('NTP'),
    },
  })
  expect(slow.findings.find(({ about }) => about === 'round trip')).toMatchObject({
    ...{ level: 'warning', advice: expect.stringContaining('closer') },
  })
  const late = await open({ url: proxy.url })
  const missed = await diagnose(late, { settings: { ...late.settings, commandTimeoutMs: 10 } })
  await late.close()
  expect(missed.findings.find(({ about }) => about === 'round trip')).toMatchObject({
    ...{ level: 'problem', found: '20 of 20 missed 10 ms' },
  })
})

test('replicas that are missing, in order, and behind', async () => {
  expect((await look({ waitForReplicas: 1, trustRestarts: false })).get('replicas')).toMatchObject({
    ...{ level: 'problem', found: '0, and waitForReplicas is 1', advice: expect.stringContaining('Add replicas') },
  })
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(server.port)] })
  onTestFinished(() => replica.close())
  const info = async () => String(await command('INFO', 'replication'))
  await expect.poll(info, { timeout: 10_000 }).toContain('state=online')
  const well = (await look({ waitForReplicas: 1, trustRestarts: false })).get('replicas')
  expect(well).toMatchObject({ level: 'ok', found: expect.stringContaining(`:${replica.port} online`) })
  replica.pause()
  await expect.poll(async () => Number(/lag=(\d+)/.exec(await info())?.[1]), { timeout: 10_000 }).toBeGreaterThan(2)
  const behind = (await look()).get('replicas')
  expect(behind).toMatchObject({ level: 'warning', advice: expect.stringContaining('failover') })
})

test('two applications under one prefix, by name; other prefixes; no secret of the settings', async () => {
  const options = { url: server.url, logger: silentLogger, commandTimeout: '5s' } as const
  for (const [application, at] of [
    ['shop', prefix],
    ['billing', prefix],
    ['other', `${prefix}-other`],
  ] as const) {
    const app = await buildShop({ ...options, prefix: at, application })
    onTestFinished(() => app.close())
    await app.redis.connect()
    await app.inject('/products/1')
  }
  await command('ACL', 'SETUSER', 'ops', 'on', '>s3cret', '~*', '&*', '+@all')
  const redis = await open({ url: server.url.replace('//', '//ops:s3cret@') })
  onTestFinished(() => redis.close())
  const { findings, prefixes, settings } = await diagnose(redis)
  expect(findings.find(({ about }) => about === 'applications')).toMatchObject({
    ...{ level: 'warning', found: expect.stringMatching(/^(shop and billing|billing and shop) share one prefix$/) },
  })
  expect(prefixes).toEqual([`${prefix}-other`])
  expect(settings).toMatchObject({ username: 'ops', password: '***', prefix })
  expect(JSON.stringify(findings) + JSON.stringify(settings)).not.toContain('s3cret')
})

test('data that survive a restart while restarts are trusted', async () => {
  await command('CONFIG', 'SET', 'appendonly', 'yes')
  onTestFinished(async () => void (await command('CONFIG', 'SET', 'appendonly', 'no')))
  expect((await look()).get('persistence')).toMatchObject({ level: 'warning' })
  expect((await look({ trustRestarts: false })).has('persistence')).toBe(false)
})

test.each([
  ['a server', (port: number) => ({ REDIS_URL: `redis://:s3cret@127.0.0.1:${port}` })],
  ['a cluster', (port: number) => ({ REDIS_URL: `redis://:s3cret@127.0.0.1:${port}`, REDIS_CLUSTER: 'true' })],
  [
    'sentinels',
    (port: number) => ({ REDIS_URL: '', REDIS_SENTINEL: 'true', REDIS_SENTINEL_NODES: `127.0.0.1:${port}` }),
  ],
])('%s that cannot be reached: exit code 3, address and reason, and no secret', async (_, envOf) => {
  const port = await freePort()
  for (const [name, value] of Object.entries(envOf(port))) vi.stubEnv(name, value)
  let said = ''
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      said += String(text)
      return true
    }),
  )
  const code = await run(['doctor']).finally(() => {
    for (const spy of spies) spy.mockRestore()
    vi.unstubAllEnvs()
  })
  expect([code, said]).toEqual([
    3,
    expect.stringMatching(new RegExp(`127\\.0\\.0\\.1:${port}[^]*(ECONNREFUSED|root nodes are unavailable)`)),
  ])
  expect(said).not.toContain('s3cret')
})
