import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import { createRedis, type Redis } from '../../src/create-redis.js'
import type { Session, SessionOptions } from '../../src/index.js'
import { recordingLogger } from '../support/logger.js'
import { redisCli } from '../support/redis-cluster.js'
import { type RedisServer, serverVersion, startRedis } from '../support/redis-server.js'

/** The rules as the page on operations gives them: what is documented is what is tested. */
const [RULE = '', NEWER_RULE = '', SESSION_RULE = ''] =
  readFileSync('docs/operations.md', 'utf8').match(/ACL SETUSER shop .*?```/gs) ?? []
const commandsOf = (rule: string): readonly string[] => [...rule.matchAll(/\+([a-z|]+)/g)].map(([, name = '']) => name)
/** CLIENT SETINFO came with Redis 7.2; older servers refuse its name in a rule. */
const hasSetInfo = serverVersion() >= 7.2
export const NEEDED = [...commandsOf(RULE), ...(hasSetInfo ? commandsOf(NEWER_RULE) : [])]

/** What sessions need in addition. */
export const OF_SESSIONS = commandsOf(SESSION_RULE)

let server: RedisServer
const cli = (...command: string[]): Promise<string> => redisCli('-p', String(server.port), ...command)

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.close())

export async function setUser(name: string, commands: readonly string[]): Promise<void> {
  const said = await cli(
    'ACL',
    'SETUSER',
    name,
    'on',
    '>secret',
    `~${name}:*`,
    `&${name}:*`,
    '-@all',
    ...commands.map((command) => `+${command}`),
  )
  expect(said.trim()).toBe('OK')
  // Scripts are sent whole to a server that does not know them yet.
  await cli('SCRIPT', 'FLUSH')
  await cli('ACL', 'LOG', 'RESET')
}

export function open(name: string, sessions?: SessionOptions): { redis: Redis; lines: readonly string[] } {
  const logger = recordingLogger()
  const url = `redis://${name}:secret@127.0.0.1:${server.port}`
  const redis = createRedis({ url, prefix: name, logger, commandTimeout: '5s', ...(sessions && { sessions }) })
  onTestFinished(() => redis.close())
  return { redis, lines: logger.lines }
}

/** All that the cache ever asks of a server. */
export async function useAll(redis: Redis, other: Redis): Promise<void> {
  const { cache } = redis
  await Promise.all([redis.connect(), other.connect()].map((connecting) => connecting.catch(() => {})))
  await redis.ping().catch(() => {})
  await cache.set('unbounded', 1, { ttl: 0, group: 'g' })
  await cache.set('a', 1, { ttl: 60, group: 'g' })
  await cache.get('a')
  await cache.getMany(['a', 'b'])
  const slow = (): Promise<number> => new Promise((resolve) => setTimeout(() => resolve(1), 50))
  await Promise.all([redis, other].map((one) => one.cache.getOrSet('slow', slow, { ttl: 60 })))
  await cache.getOrSet('failing', () => Promise.reject(new Error('no value')), { ttl: 60 }).catch(() => {})
  await cache.expire('a')
  await cache.delete('a')
  await cache.expireGroup('g')
  await cache.deleteGroup('g')
  await cache.sweep().catch(() => {})
  const space = redis.scope
  const ref = { key: '/a|v', path: '/a', groups: ['', '=/a'] }
  await space.addVariant({ path: '/a', key: 'v1' }, 60_000, 1).catch(() => {})
  await space.addVariant({ path: '/a', key: 'v2' }, 60_000, 1).catch(() => {})
  await space.variants(ref).catch(() => {})
  await space.lookup(ref)
  const write = await space.beginWrite(ref)
  if (write !== undefined) await space.commit(write, undefined, { groups: ['g'] })
  await space.evict({ paths: ['/a'], mode: 'soft' })
  await space.extend('=unbounded', Infinity).catch(() => {})
  await space.extend('=unbounded', 1000).catch(() => {})
  await cache.clear()
  await redis.reporter.write().catch(() => {})
  await redis.history.read(Date.now() - 1, Date.now()).catch(() => {})
}

const SIGNED_IN = { userId: 'ann' }

/** All that sessions ever ask of a server. Returns what they reject with. */
export async function useSessions({ sessions }: Redis): Promise<readonly unknown[]> {
  const errors: unknown[] = []
  const attempt = <T>(work: () => T | Promise<T>): Promise<T | undefined> =>
    Promise.resolve()
      .then(work)
      .catch((error: unknown) => void errors.push(error))
  let cookie: string | undefined
  const visit = (work: (session: Session) => unknown): Promise<void> =>
    attempt(async () => {
      const session = await sessions.load(cookie)
      await work(session)
      await session.save()
      cookie = session.setCookie?.split(';')[0] ?? cookie
    })
  const signIn = async (): Promise<void> => {
    cookie = undefined
    await visit(({ data }) => Object.assign(data, SIGNED_IN, { theme: 'dark' }))
  }
  await signIn()
  await visit(({ data }) => void Object.assign(data, { theme: undefined, count: 1 }))
  await visit((session) => session.touch())
  await visit((session) => session.rotate())
  const listed = await attempt(() => sessions.list('ann'))
  await attempt(() => sessions.revoke('ann', listed?.[0]?.handle ?? ''))
  await signIn()
  await signIn()
  await attempt(() => sessions.revokeAll('ann'))
  await attempt(async () => sessions.revokeAll('ann', { except: await sessions.load(cookie) }))
  await signIn()
  await attempt(async () => sessions.revokeAll('ann', { except: await sessions.load(cookie) }))
  await visit((session) => session.end())
  await signIn()
  // What is not there any more is ended by a mark.
  await visit(async (session) => {
    await sessions.revoke('ann', session.handle ?? '')
    await session.end()
  })
  return errors
}

export async function refused(): Promise<string> {
  return cli('ACL', 'LOG')
}

/** Without one command something is refused, and no call of the cache fails. */
export async function worksWithout(command: string): Promise<void> {
  const name = `without-${command.replaceAll('|', '-')}`
  await setUser(
    name,
    NEEDED.filter((needed) => needed !== command),
  )
  const [one, other] = [open(name), open(name)]
  await useAll(one.redis, other.redis)
  expect(await refused()).toContain(command.replace('|', ' ').split(' ')[0])
}
