import { expect, onTestFinished, test, vi } from 'vitest'
import { OptionsError, type Redis, type SessionOptions, ValueError } from '../../src/index.js'
import { devalueCoder } from '../../src/data/coders/devalue.js'
import { msgpackrCoder } from '../../src/data/coders/msgpackr.js'
import { handle, Jar } from './bed.js'

/** Another application on the same data. */
const beside = async (redis: Awaited<ReturnType<typeof handle>>, sessions: SessionOptions) =>
  handle('redis', sessions, {
    url: `redis://127.0.0.1:${redis.settings.nodes[0]?.port}`,
    prefix: redis.settings.prefix,
  })

test.each(['memory', 'redis'] as const)(
  'whose session has ended signs in again with encrypted data, also right after a rotation, on %s',
  async (store) => {
    const redis = await handle(store, { secrets: 'a secret of at least 32 characters' })
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.userId = 'ann'))
    const first = jar.cookie
    await jar.visit((session) => session.rotate())
    const late = new Jar(redis)
    late.cookie = first
    await late.visit(({ data }) => void (data.userId = 'ann'))
    expect((await late.load()).subject).toBe('ann')
    await redis.sessions.revokeAll('ann')
    await jar.visit(({ data }) => Object.assign(data, { userId: 'ann', theme: 'dark' }))
    expect((await jar.load()).data).toEqual({ userId: 'ann', theme: 'dark' })
  },
)

test('`initial` is called for new sessions only, and stays what it was', async () => {
  let made = 0
  const redis = await handle('redis', { initial: () => ({ anything: (made += 1), theme: 'light' }) })
  const jar = new Jar(redis)
  await jar.visit(({ data }) => void (data.count = 1))
  const { data } = await jar.load()
  expect(data).toEqual({ anything: 1, theme: 'light', count: 1 })
  await jar.visit(({ data: own }) => delete own.theme)
  expect([(await jar.load()).data, made]).toEqual([{ anything: 1, count: 1 }, 1])
  await jar.visit((session) => session.end())
  expect((await jar.load()).data).toEqual({ anything: 2, theme: 'light' })
})

test('`initial` that is no function is an error where it is declared, with an example', async () => {
  await expect(handle('memory', { initial: { cart: [] } as never })).rejects.toThrow(
    /initial: must be a function that returns .* such as \(\) => \(\{ cart: \[\] \}\)/,
  )
})

test('a secret changes in two steps, in which processes before and after each one read all sessions', async () => {
  const [old, next] = ['an old secret of at least 32 characters', 'a new secret of at least 32 characters!']
  const steps: string[][] = [[old], [old, next], [next, old], [next]]
  const first = await handle('redis', { secrets: steps[0] })
  const processes = [first]
  for (const secrets of steps.slice(1)) processes.push(await beside(first, { secrets }))
  const reads = async (of: Redis, jar: Jar) => (await of.sessions.load(jar.cookie)).data.theme
  for (const [index, redis] of processes.entries()) {
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.theme = 'dark'))
    const near = processes.slice(Math.max(0, index - 1), index + 2)
    expect(await Promise.all(near.map((other) => reads(other, jar)))).toEqual(near.map(() => 'dark'))
  }
  // In one step it signs out.
  const jar = new Jar(first)
  await jar.visit(({ data }) => void (data.theme = 'dark'))
  expect(await reads(await beside(first, { secrets: [next, old] }), jar)).toBe('dark')
  expect(await reads(await beside(first, { secrets: next }), jar)).toBeUndefined()
})

test('what another coder wrote is no session: it is never read as something else', async () => {
  const forms: SessionOptions[] = [{}, { coder: devalueCoder }, { coder: msgpackrCoder }]
  const first = await handle('redis', forms[0])
  for (const own of forms) {
    const redis = await beside(first, own)
    const jar = new Jar(redis)
    // A number in JSON is a number in every other form.
    await jar.visit(({ data }) => Object.assign(data, { count: 1, anything: [0, 1] }))
    for (const other of forms) {
      const { data } = await (await beside(first, other)).sessions.load(jar.cookie)
      expect(data).toEqual(other === own ? { count: 1, anything: [0, 1] } : {})
    }
  }
})

test('functions of the options that are asynchronous are errors, not results', async () => {
  const async = async (): Promise<never> => ({}) as never
  for (const [name, options] of Object.entries({
    skip: { skip: async as never },
    describe: { describe: async as never },
    initial: { initial: async as never },
    principal: { principal: async as never },
    subject: { principal: () => 'ann', subject: async as never },
  } satisfies Record<string, SessionOptions>)) {
    const redis = await handle('memory', options)
    const visit = async (): Promise<void> => {
      const session = await redis.sessions.open({ cookieHeader: undefined, native: {} })
      session.data.userId = 'ann'
      await session.save()
    }
    await expect(visit()).rejects.toThrow(OptionsError)
    await expect(visit()).rejects.toThrow(new RegExp(`${name}: .*(promise|an object)`))
  }
  const encryptor = { encrypt: async as never, decrypt: async as never }
  const redis = await handle('memory', { encryptor })
  await expect(new Jar(redis).visit(({ data }) => void (data.count = 1))).rejects.toThrow(/encrypt/)
})

test('another thing in the place of a session is refused before anything ends', async () => {
  const redis = await handle('memory')
  const jar = new Jar(redis)
  await jar.visit(({ data }) => void (data.userId = 'ann'))
  const { handle: own } = await jar.load()
  for (const wrong of [own, { handle: own }, {}, null, jar.cookie]) {
    await expect(redis.sessions.revokeAll('ann', { except: wrong as never })).rejects.toThrow(/request\.session/)
    await expect(redis.sessions.list('ann', { current: wrong as never })).rejects.toThrow(OptionsError)
  }
  expect((await jar.load()).subject).toBe('ann')
})

test('a name that has no UTF-8 is refused, for it would become that of another property', async () => {
  const redis = await handle('redis')
  const write = (name: string) => new Jar(redis).visit(({ data }) => Object.assign(data, { [name]: 1 }))
  await expect(write('\ud800')).rejects.toThrow(ValueError)
  const jar = new Jar(redis)
  const names = ['\ud83d\ude00', 'a b', '%00', '\0', 'constructor', 'toString', '1', 'é', 'e\u0301']
  await jar.visit(({ data }) => Object.assign(data, Object.fromEntries(names.map((name) => [name, name]))))
  expect((await jar.load()).data).toEqual(Object.fromEntries(names.map((name) => [name, name])))
})

test('values at the edges of JSON come back as they were, or are refused', async () => {
  const redis = await handle('redis')
  const jar = new Jar(redis)
  const kept = [
    ...[Number.MAX_VALUE, Number.MIN_VALUE, 2 ** 53, 1e21, '\ud800', '\u2028', '\0', '', null, [[]], [null]],
    ...[
      'x'.repeat(100_000),
      { '': 1, constructor: { prototype: { admin: true } } },
      JSON.parse('{"__proto__":{"a":1}}'),
    ],
  ]
  await jar.visit(({ data }) => Object.assign(data, { anything: kept }))
  expect(JSON.stringify((await jar.load()).data.anything)).toBe(JSON.stringify(kept))
  expect(({} as { admin?: boolean }).admin).toBeUndefined()
  let deep: unknown = 1
  for (let turn = 0; turn < 100_000; turn += 1) deep = [deep]
  for (const refused of [Infinity, -Infinity, 1n, [1n], deep, { toJSON: () => undefined }, Symbol.iterator])
    await expect(jar.visit(({ data }) => Object.assign(data, { anything: refused }))).rejects.toThrow(ValueError)
})

test('the longest lifetimes are those that the record has room for', async () => {
  await expect(handle('memory', { idleTtl: '10001d', absoluteTtl: '10001d' })).rejects.toThrow(
    /idleTtl: must be at most/,
  )
  const redis = await handle('redis', { idleTtl: '10000d', absoluteTtl: 2 ** 31 })
  const jar = new Jar(redis)
  await jar.visit(({ data }) => void (data.userId = 'ann'))
  await jar.visit((session) => session.rotate())
  const [device] = await redis.sessions.list('ann')
  expect((await jar.load()).subject).toBe('ann')
  expect((device?.expiresAt.getTime() ?? 0) / Date.now()).toBeGreaterThan(1.4)
})

test.each([
  ['load', true],
  ['write', false],
] as const)('`refresh: %s`: whether requests that change nothing keep a session alive', async (refresh, isAlive) => {
  let now = 1_700_000_000_000
  const redis = await handle('memory', { refresh, idleTtl: '1m', absoluteTtl: '1h' }, { now: () => now })
  const [reads, writes] = [new Jar(redis), new Jar(redis)]
  for (const jar of [reads, writes]) await jar.visit(({ data }) => void (data.count = 0))
  for (let turn = 1; turn <= 3; turn += 1) {
    now += 40_000
    await reads.visit(({ data }) => data.count)
    await writes.visit(({ data }) => void (data.count = turn))
  }
  expect([(await reads.load()).data.count === 0, (await writes.load()).data.count]).toEqual([isAlive, 3])
})

test('the variables of sessions are their defaults, and options override them', async () => {
  const variables = {
    ...{ COOKIE_NAME: 'sid', COOKIE_PATH: '/shop', COOKIE_DOMAIN: 'example.org', COOKIE_SAME_SITE: 'strict' },
    ...{ ABSOLUTE_TTL: '7200', PRINCIPAL_KEYS: 'userId,theme' },
  }
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(`REDIS_SESSION_${name}`, value)
  onTestFinished(() => void vi.unstubAllEnvs())
  const redis = await handle('memory', { cookie: { path: '/' } })
  const session = await redis.sessions.load(undefined)
  session.data.theme = 'dark'
  await session.save()
  expect(session.setCookie).toMatch(
    /^sid=[\w-]{87}; Max-Age=7200; Domain=example\.org; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
  )
  // Several names are one principal, which has as many parts.
  const { handle: own, subject } = session
  expect(subject).toBe('[null,"dark"]')
  session.data.userId = 'ann'
  await session.save()
  expect([session.subject, session.handle]).toEqual(['["ann","dark"]', own])
  expect([await redis.sessions.list('["ann","dark"]'), await redis.sessions.list(subject ?? '')]).toMatchObject([
    [{ handle: own }],
    [],
  ])
})
