import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { slotOf } from '../../src/redis/command.js'
import { Keyspace, pathGroup } from '../../src/store/keyspace.js'
import { run } from '../../src/cli/program.js'
import { dashboard } from '../../src/dashboard/index.js'
import { recordingLogger } from '../support/logger.js'
import { RedisCluster } from '../support/redis-cluster.js'
import type { RedisServer } from '../support/redis-server.js'

/** A cluster without replicas, of which a primary dies and comes back without data. */
let cluster: RedisCluster

beforeAll(async () => {
  cluster = await RedisCluster.start({ replicas: 0, args: ['--cluster-require-full-coverage', 'no'] })
}, 30_000)
afterAll(() => cluster.close())

const COUNT = 30
const KEYS = Array.from({ length: COUNT }, (_, index) => `key-${index}`)
const TIMEOUT_MS = 60_000

async function connect() {
  const { lines, ...logger } = recordingLogger()
  const redis = createRedis({ url: cluster.url, cluster: true, prefix: randomUUID(), logger, connectTimeout: '5s' })
  onTestFinished(() => redis.close())
  await redis.connect()
  const [a, b, c] = (await cluster.primaries()) as [RedisServer, RedisServer, RedisServer]
  const names = new Keyspace(redis.settings.prefix, true)
  // As redis-cli divides the slots between three.
  const ownerOf = (name: string): RedisServer => [a, b, c][Math.min(2, Math.floor((slotOf(name) * 3) / 16_384))] ?? a
  const groupOn = (node: RedisServer): string => {
    for (let index = 0; ; index += 1) if (ownerOf(`${names.groups}g${index}`) === node) return `g${index}`
  }
  /** What an entry needs in addition to its own groups: the entry, the group of its path, and that of the prefix. */
  const namesOf = (key: string): readonly string[] => {
    const path = `value::${key}`
    return [names.entry(path), ...names.groupsOf(['', pathGroup(path)], path)]
  }
  const away = (node: RedisServer): readonly string[] =>
    KEYS.filter((key) => namesOf(key).some((name) => ownerOf(name) === node))
  return { redis, lines, ownerOf, groupOn, away, clock: ownerOf(names.clock), primaries: [a, b, c] as const }
}

/** Stores all keys with these groups in addition to that of their path. */
async function fill(redis: Redis, group: (key: string) => readonly string[]): Promise<void> {
  for (const key of KEYS) await redis.cache.getOrSet(key, () => key, { ttl: 60, group: [...group(key)] })
  await redis.cache.settled()
}

async function found(redis: Redis): Promise<readonly string[]> {
  const values = await Promise.all(KEYS.map((key) => redis.cache.get(key)))
  return KEYS.filter((key, index) => values[index] === key)
}

/** Kills a server; resolves when the connection has noticed. The test brings it back, or its end does. */
async function kill(redis: Redis, node: RedisServer): Promise<void> {
  onTestFinished(async () => {
    if (!node.answers) await node.start()
    await expect.poll(() => state(node), { timeout: 20_000 }).toBe(true)
  })
  await node.kill()
  await expect.poll(() => redis.status).toBe('degraded')
}

async function state(node: RedisServer): Promise<boolean> {
  const said = await Promise.all(cluster.nodes.map((one) => cluster.ask(one, 'CLUSTER', 'INFO').catch(() => '')))
  const known = await Promise.all(cluster.nodes.map((one) => cluster.ask(one, 'CLUSTER', 'NODES').catch(() => 'fail')))
  return (
    node.answers &&
    said.every((text) => text.includes('cluster_state:ok')) &&
    known.every((text) => !text.includes('fail'))
  )
}

test(
  'a primary without replicas is killed: entries of the others are hits, filled and evicted, until it is back',
  { timeout: TIMEOUT_MS },
  async () => {
    const { redis, lines, groupOn, away, clock, primaries } = await connect()
    const [dead, alive] = primaries.filter((node) => node !== clock) as [RedisServer, RedisServer]
    const lost = new Set(away(dead))
    const [living, onDead] = [groupOn(alive), groupOn(dead)]
    const living2 = groupOn(clock)
    await fill(redis, (key) => (key === KEYS[0] ? [living] : [living2]))
    expect(await found(redis)).toEqual(KEYS)
    await kill(redis, dead)
    const rest = KEYS.filter((key) => !lost.has(key))
    expect(rest.length).toBeGreaterThan(5)
    expect(await found(redis)).toEqual(rest)
    expect(lines.join('\n')).toMatch(
      /has 2 of 3 primaries: .* is not connected; requests whose entry, or a group of it, is there are served without the cache/,
    )
    // Without its stamp it is not known whether an entry of a group was evicted.
    const other = rest.at(-1) ?? ''
    expect(await redis.cache.deleteGroup(living2)).toMatchObject({ confirmed: true })
    await fill(redis, (key) => (key === other ? [onDead] : [living2]))
    expect(await found(redis)).toEqual(rest.filter((key) => key !== other))
    await dead.start()
    await expect.poll(() => state(dead), { timeout: 20_000 }).toBe(true)
    await expect.poll(() => redis.status).toBe('ready')
    await expect
      .poll(
        async () => {
          await fill(redis, () => [living2, onDead])
          return found(redis)
        },
        { timeout: 20_000 },
      )
      .toEqual(KEYS)
  },
)

test(
  'the primary with the clock of the prefix is killed: entries of the others are hits, and no eviction is confirmed',
  { timeout: TIMEOUT_MS },
  async () => {
    const { redis, away, clock, groupOn, primaries } = await connect()
    const lost = new Set(away(clock))
    const group = groupOn(primaries.find((node) => node !== clock) as RedisServer)
    await fill(redis, () => [group])
    await kill(redis, clock)
    const rest = KEYS.filter((key) => !lost.has(key))
    expect(await found(redis)).toEqual(rest)
    let runs = 0
    for (let index = 0; index < 2; index += 1) await redis.cache.getOrSet('new', () => (runs += 1), { ttl: 60 })
    expect(runs).toBe(2)
    expect(await redis.cache.deleteGroup(group)).toMatchObject({ confirmed: false })
    expect(await found(redis)).toEqual([])
    await clock.start()
    await expect.poll(() => state(clock), { timeout: 20_000 }).toBe(true)
    await expect
      .poll(
        async () => {
          await fill(redis, () => [group])
          return found(redis)
        },
        { timeout: 20_000 },
      )
      .toEqual(KEYS)
  },
)

/** What the command line prints and returns. */
async function redwell(redis: Redis, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' }
  const spies = (['out', 'err'] as const).map((stream) =>
    vi.spyOn(process[`std${stream}`], 'write').mockImplementation((text) => {
      said[stream] += String(text)
      return true
    }),
  )
  try {
    return { code: await run([...args, '--url', cluster.url, '--cluster', '--prefix', redis.settings.prefix]), ...said }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}

test(
  'operators find out which primary is away, and see what the others hold, as a part',
  { timeout: TIMEOUT_MS },
  async () => {
    const { redis, away, clock, groupOn, ownerOf, primaries } = await connect()
    const dead = primaries.find((node) => node !== clock) as RedisServer
    const [alive, onDead] = [groupOn(clock), groupOn(dead)]
    const lost = new Set(away(dead))
    const rest = KEYS.filter((key) => !lost.has(key))
    await fill(redis, (key) => (key === rest[0] ? [onDead] : [alive]))
    await kill(redis, dead)
    const address = `127.0.0.1:${dead.port}`
    const doctor = await redwell(redis, 'doctor')
    expect(doctor).toMatchObject({ code: 1, err: '' })
    expect(doctor.out).toMatch(/^PROBLEM +connection: cluster, 2 of 3 primaries answer$/m)
    expect(doctor.out).toMatch(new RegExp(`^PROBLEM +${address}: not reachable$`, 'm'))
    expect(doctor.out).toMatch(/^ok +permissions: /m)
    const { code, out, err } = await redwell(redis, 'keys', '--json')
    expect([code, err]).toEqual([1, expect.stringContaining(`Incomplete: ${address} not reachable`)])
    const page = JSON.parse(out) as { items: { key: string; state: string; reasons: string[] }[]; away: string[] }
    expect(page.away).toEqual([address])
    const states = new Map(page.items.map(({ key, state: is }) => [key, is]))
    for (const key of rest)
      expect([key, states.get(`value::${key}`)]).toEqual([key, key === rest[0] ? 'invalid' : 'fresh'])
    expect(await redwell(redis, 'groups')).toMatchObject({
      code: 1,
      out: expect.stringMatching(new RegExp(`^${alive} `, 'm')),
    })
    expect(await redwell(redis, 'show', `value::${rest[0]}`)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/invalid: a primary with one of its groups does not answer/),
    })
    const evicted = await redwell(redis, 'evict', '--group', onDead, '--yes')
    expect(evicted).toMatchObject({ code: 1, out: expect.stringMatching(/^Redis did not confirm it: /) })
    const isAsked =
      ownerOf(`${redis.settings.prefix}:operate:requests`) !== dead &&
      ownerOf(`${redis.settings.prefix}:operate:processes`) !== dead
    expect((await redwell(redis, 'stats')).code).toBe(isAsked ? 1 : 3)
    const ops = dashboard(redis, { guard: () => true })
    const api = async (path: string): Promise<unknown> =>
      (await ops.fetch(new Request(`http://a.example/api/${path}`))).json()
    expect(await api('entries?limit=50')).toMatchObject({ away: [address] })
    expect(await api('groups')).toMatchObject({ away: [address] })
    expect(await api('doctor')).toMatchObject({
      findings: expect.arrayContaining([expect.objectContaining({ about: address, found: 'not reachable' })]),
    })
    expect(await api('history')).toMatchObject({ points: expect.anything() })
  },
)
