import { describe, expect, test } from 'vitest'
import { SessionError, UnavailableError } from '../../src/index.js'
import { NEEDED, OF_SESSIONS, open, refused, setUser, useAll, useSessions, worksWithout } from './permissions.js'

/** Without these a waiting process notices the end of a run late; acl.long.test.ts has them. */
const SLOW = new Set(['publish', 'del'])

describe('the documented permissions', () => {
  test('are enough: nothing is refused, and nothing is said', async () => {
    await setUser('shop', NEEDED)
    const [one, other] = [open('shop'), open('shop')]
    await useAll(one.redis, other.redis)
    expect((await refused()).trim()).toBe('')
    expect([...one.lines, ...other.lines].filter((line) => line.includes('NOPERM'))).toEqual([])
    expect(one.redis.status).toBe('ready')
  })

  test.each(NEEDED.filter((command) => !SLOW.has(command)))(
    'without %s something is refused, and no call of the cache fails',
    worksWithout,
  )
})

test('other keys and channels are out of reach', async () => {
  await setUser('shop', NEEDED)
  const client = open('shop').redis
  await client.connect()
  await expect((client.client as { get(key: string): Promise<unknown> }).get('else:a')).rejects.toThrow(
    /NOPERM|permission/,
  )
})

test('a user without the permissions is told once what is missing, and its requests are served', async () => {
  await setUser('poor', ['hello', 'ping', 'info'])
  const { redis, lines } = open('poor')
  await redis.connect()
  for (let index = 0; index < 5; index += 1) expect(await redis.cache.getOrSet('a', () => 1, { ttl: 60 })).toBe(1)
  const said = lines.filter((line) => line.includes('NOPERM'))
  expect(said.length).toBeGreaterThan(0)
  expect(new Set(said).size).toBe(said.length)
})

describe('the documented permissions of sessions', () => {
  const options = { maxPerSubject: 1, idleTtl: 1, absoluteTtl: 60 } as const

  test('are enough: nothing is refused', async () => {
    await setUser('sessions', [...NEEDED, ...OF_SESSIONS])
    const { redis, lines } = open('sessions', options)
    await redis.connect()
    expect(await useSessions(redis)).toEqual([])
    expect([(await refused()).trim(), lines.filter((line) => /sessions:|NOPERM|can't run/.test(line))]).toEqual([
      '',
      [],
    ])
  })

  test.each(OF_SESSIONS)(
    'without %s an error says that the user may not, and so does the log, once',
    async (command) => {
      const name = `no-${command}`
      await setUser(
        name,
        [...NEEDED, ...OF_SESSIONS].filter((needed) => needed !== command),
      )
      const { redis, lines } = open(name, options)
      await redis.connect()
      const errors = [...(await useSessions(redis)), ...(await useSessions(redis))]
      expect(errors.length).toBeGreaterThan(0)
      for (const error of errors) {
        expect(error instanceof SessionError || error instanceof UnavailableError).toBe(true)
        expect(error).toMatchObject({
          statusCode: 503,
          message: expect.stringMatching(/because .* may not run a command/),
        })
      }
      const said = lines.filter((line) => line.includes('sessions: '))
      expect(said.length).toBeGreaterThan(0)
      expect(new Set(said).size).toBe(said.length)
      expect(await refused()).toContain(command)
    },
  )
})
