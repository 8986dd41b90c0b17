import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OptionsError, type SessionOptions } from '../../src/index.js'
import { devalueCoder } from '../../src/data/coders/devalue.js'
import { clearingLine, cookieFor, cookieLine, localCookie, readCookie } from '../../src/session/cookie.js'
import { sessionFields } from '../../src/session/fields.js'
import { SessionGuard } from '../../src/session/guard.js'
import { newId, parseId, tagOf, withoutIds } from '../../src/session/id.js'
import { resolveSessions } from '../../src/session/options.js'
import { sealerOf } from '../../src/session/secrets.js'
import { handle, Jar } from './bed.js'

describe('ids', () => {
  test('an id is 87 characters, says handle and tag, and is parsed as it was made', () => {
    for (const tag of [undefined, tagOf('ann')]) {
      const id = newId(tag)
      expect(id.text).toMatch(/^[A-Za-z0-9_-]{87}$/)
      expect(parseId(id.text)).toEqual(id)
      expect(newId(tag, id.handle).text).not.toBe(id.text)
    }
    expect(tagOf('ann')).not.toBe(tagOf('bob'))
  })

  test('ids in a text are made useless, and nothing else is changed', () => {
    const { text } = newId(tagOf('ann'))
    const without = withoutIds(`a=b; session=${text}; c=${'x'.repeat(90)}`)
    expect(without).toMatch(new RegExp(`^a=b; session=${text.slice(0, 44)}A{43}; c=x{90}$`))
    expect(without).not.toContain(text.slice(44))
  })

  test('nothing else is an id, whatever is sent', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 200 }), fc.base64String({ maxLength: 200 })), (text) => {
        const id = parseId(text)
        expect(id === undefined || /^[A-Za-z0-9_-]{87}$/.test(text)).toBe(true)
      }),
    )
    const { text } = newId(undefined)
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 86 }),
        fc.constantFrom('=', '+', '/', ' ', '%', '"', '\0', 'é'),
        (at, char) => {
          expect(parseId(text.slice(0, at) + char + text.slice(at + 1))).toBeUndefined()
        },
      ),
    )
    for (const other of [`${text}A`, text.slice(1), ` ${text}`, `${text}\n`, '']) expect(parseId(other)).toBeUndefined()
  })
})

describe('the cookie', () => {
  const { cookie } = resolveSessions({})

  test('the id is found between others; of several the first that can be ours', () => {
    const id = newId(undefined)
    const read = (header: string | undefined) => readCookie(header, 'session')
    expect(read(`a=1; session=${id.text}; b=2`)).toEqual(id)
    expect(read(`session=planted; session=${id.text}`)).toEqual(id)
    expect(read('session=planted')).toBe('malformed')
    for (const header of [undefined, '', 'xsession=1', 'session', 'session=', ';;;', 'a=session']) {
      expect(read(header)).toBeUndefined()
    }
    fc.assert(fc.property(fc.string(), (header) => void readCookie(header, 'session')))
  })

  test('it is cleared with the attributes that it was set with', () => {
    const policy = { ...cookie, name: 's', domain: 'example.org', path: '/shop', partitioned: true }
    const attributes = '; Domain=example.org; Path=/shop; HttpOnly; Secure; SameSite=Lax; Partitioned'
    const id = newId(undefined)
    expect(cookieLine(policy, id, 10.9)).toBe(`s=${id.text}; Max-Age=10${attributes}`)
    expect(cookieLine({ ...policy, persistent: false }, id, 10)).toBe(`s=${id.text}${attributes}`)
    expect(clearingLine(policy)).toBe(`s=; Max-Age=0${attributes}`)
  })

  test("only on a developer's own machine it is without Secure", () => {
    const local = localCookie(cookie, 'development')
    const peer = { encrypted: false, remoteAddress: '127.0.0.1', localAddress: '::ffff:127.0.0.1', forwarded: false }
    expect(cookieFor(cookie, local, { cookieHeader: undefined, peer: () => peer })).toMatchObject({
      name: 'session',
      secure: false,
    })
    expect(localCookie(cookie, 'production')).toBeUndefined()
    expect(localCookie(cookie, undefined)).toBeUndefined()
    for (const other of [
      { ...peer, remoteAddress: '10.0.0.1' },
      { ...peer, localAddress: '10.0.0.1' },
      { ...peer, forwarded: true },
      { ...peer, encrypted: true },
      undefined,
    ])
      expect(cookieFor(cookie, local, { cookieHeader: undefined, ...(other && { peer: () => other }) })).toBe(cookie)
  })

  test('where it is not known how a request came, the cookie that it has says so', () => {
    const local = localCookie(cookie, 'test')
    const [own, other] = [newId(undefined).text, newId(undefined).text]
    const nameFor = (cookieHeader: string | undefined) => cookieFor(cookie, local, { cookieHeader }).name
    expect(nameFor(`session=${own}`)).toBe('session')
    for (const header of [
      ...[undefined, '', 'session=planted', `__Host-session=${own}`, `xsession=${own}`],
      ...[`session=${other}; __Host-session=${own}`, `__Host-session=${own}; session=${other}`],
    ])
      expect(nameFor(header)).toBe('__Host-session')
    // Elsewhere than on a developer's machine there is one name.
    expect(cookieFor(cookie, undefined, { cookieHeader: `session=${own}` }).name).toBe('__Host-session')
  })
})

describe('options', () => {
  const problems = (options: SessionOptions): readonly string[] => {
    try {
      resolveSessions(options)
      return []
    } catch (error) {
      return (error as OptionsError).problems
    }
  }

  test('the defaults are safe', () => {
    expect(resolveSessions({})).toMatchObject({
      cookie: { name: '__Host-session', path: '/', secure: true, sameSite: 'lax', persistent: true },
      ...{ idleMs: 1_800_000, absoluteMs: 28_800_000, keepMs: 28_800_000, failClosed: false, refreshOnLoad: true },
    })
    expect(resolveSessions({ cookie: { secure: false } }).cookie.name).toBe('session')
    expect(resolveSessions({ cookie: { domain: 'example.org' } }).cookie.name).toBe('session')
  })

  test.each<[string, SessionOptions, RegExp]>([
    ['SameSite=None without Secure', { cookie: { sameSite: 'none', secure: false } }, /sameSite.*needs `secure`/],
    ['__Host- with a domain', { cookie: { name: '__Host-s', domain: 'example.org' } }, /cookie.domain/],
    ['__Host- with a path', { cookie: { name: '__Host-s', path: '/x' } }, /cookie.path/],
    ['__Secure- without Secure', { cookie: { name: '__Secure-s', secure: false } }, /prefix/],
    ['Partitioned without Secure', { cookie: { partitioned: true, secure: false } }, /partitioned/],
    ['a name that is none', { cookie: { name: 'a b' } }, /not a cookie name/],
    ['a path with a semicolon', { cookie: { path: '/;x' } }, /cookie.path/],
    ['a domain with a space', { cookie: { domain: 'a b' } }, /not a domain/],
    ['absolute shorter than idle', { idleTtl: '2h', absoluteTtl: '1h' }, /shorter than idleTtl/],
    ['records kept too short', { gcTtl: '1m' }, /gcTtl/],
    ['two principals', { principal: () => 1, principalKeys: ['x'] }, /principalKeys/],
    ['two encryptions', { secrets: 'x'.repeat(32), encryptor: { encrypt: (x) => x, decrypt: (x) => x } }, /encryptor/],
    ['a misspelt name', { idelTtl: 1 } as never, /did you mean `idleTtl`/],
    ['a wrong type', { principal: 'userId' } as never, /must be a function/],
    ['no limit at all', { maxPerSubject: 0 }, /at least 1/],
  ])('%s', (_, options, expected) => {
    expect(problems(options)).toEqual([expect.stringMatching(expected)])
  })

  test('all problems are one error, and secrets are not shown', () => {
    const secret = 'a-short-secret'
    const found = problems({
      idleTtl: '2h',
      absoluteTtl: '1h',
      secrets: ['x'.repeat(32), secret],
      cookie: { path: 'x' },
    })
    expect(found).toHaveLength(3)
    expect(found.join()).not.toContain(secret)
    expect(() => resolveSessions({}, { cookieName: '__Host-x', cookieDomain: 'example.org' })).toThrow(OptionsError)
  })

  test('a guard refuses what it cannot do', () => {
    expect(() => new SessionGuard('x', { challenge: 'Basic realm="x"' })).toThrow(/Basic/)
    expect(() => new SessionGuard('x', { issuedWithin: '0s' })).toThrow(/issuedWithin/)
    expect(() => new SessionGuard('x', { within: 1 } as never)).toThrow(/no such option/)
  })
})

describe('fields of a response', () => {
  const fields = (before: Record<string, string>, effects = {}) =>
    Object.fromEntries(
      sessionFields({ setCookie: undefined, accessed: true, available: true, ...effects }, (name) => before[name]).map(
        ({ name, value }) => [name, value],
      ),
    )

  test('what shared caches were told goes, and nothing is said twice', () => {
    expect(fields({})).toEqual({ Vary: 'Cookie', 'Cache-Control': 'private' })
    expect(fields({ 'cache-control': 'public, max-age=60, s-maxage=600', vary: 'Accept' })).toEqual({
      ...{ Vary: 'Accept, Cookie', 'Cache-Control': 'private, max-age=60' },
    })
    expect(fields({ 'cache-control': 'no-store', vary: 'accept, COOKIE' })).toEqual({})
    expect(fields({ 'cache-control': 'max-age=5, private', vary: '*' })).toEqual({})
    expect(fields({}, { available: false })).toEqual({ Vary: 'Cookie', 'Cache-Control': 'no-store' })
    expect(fields({ 'cache-control': 'public' }, { accessed: false })).toEqual({})
  })
})

describe('secrets', () => {
  const [one, two] = ['1'.repeat(32), '2'.repeat(32)]

  test('what is sealed opens for its own session and property only, by each of the secrets', () => {
    const text = Buffer.from('{"a":1}')
    const sealed = Buffer.from(sealerOf(one, undefined)!('handle').seal('cart', text))
    const open = (secrets: string | string[], name = 'handle', property = 'cart', bytes = sealed) =>
      Buffer.from(sealerOf(secrets, undefined)!(name).open(property, bytes)).toString()
    expect([open(one), open([two, one])]).toEqual(['{"a":1}', '{"a":1}'])
    expect(sealed.includes('{"a"')).toBe(false)
    expect(() => open(two)).toThrow('another secret')
    expect(() => open(one, 'other')).toThrow()
    expect(() => open(one, 'handle', 'other')).toThrow()
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(() => open(one, 'handle', 'cart', changed)).toThrow()
    }
    expect(() => open(one, 'handle', 'cart', text)).toThrow('not encrypted')
  })

  test.each(['memory', 'redis'] as const)('sessions are encrypted, over a change of secrets, on %s', async (store) => {
    const redis = await handle(store, { secrets: one })
    const jar = new Jar(redis)
    await jar.visit(({ data }) => Object.assign(data, { theme: 'a secret theme', count: 1 }))
    await jar.visit(({ data }) => void (data.count = 2))
    expect((await jar.load()).data).toEqual({ theme: 'a secret theme', count: 2 })
    expect(redis.cache.stats().sessions).toMatchObject({ commit: { create: 1, write: 1 } })
    await jar.visit(({ data }) => expect(data.count).toBe(2))
    // Reading encrypts nothing anew.
    expect(redis.cache.stats().sessions).toMatchObject({ commit: { create: 1, write: 1 } })
  })

  test('what does not decrypt is no session, and the log shows nothing of it', async () => {
    const [redis, lines] = [await handle('redis', { secrets: one }), [] as string[]]
    const jar = new Jar(redis)
    await jar.visit(({ data }) => Object.assign(data, { userId: 'ann', theme: 'a secret theme' }))
    const { url } = { url: `redis://127.0.0.1:${redis.settings.nodes[0]?.port}` }
    const logger = { info() {}, error() {}, warn: (line: string) => void lines.push(line) }
    const other = await handle('redis', { secrets: two }, { url, prefix: redis.settings.prefix, logger })
    const session = await other.sessions.load(jar.cookie)
    expect([session.data, session.subject]).toEqual([{}, undefined])
    expect(lines).toEqual([expect.stringMatching(/ignored/)])
    expect(lines.join()).not.toContain('a secret theme')
    expect((await jar.load()).subject).toBe('ann')
  })
})

describe('forms of values', () => {
  test.each(['memory', 'redis'] as const)('a coder keeps what JSON would lose, on %s', async (store) => {
    const redis = await handle(store, { coder: devalueCoder })
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.anything = new Map([['a', new Date(0)]])))
    const { data } = await jar.load()
    expect(data.anything).toEqual(new Map([['a', new Date(0)]]))
    await jar.visit(({ data: own }) => (own.anything as Map<string, number>).set('b', 2))
    expect((await jar.load()).data.anything).toEqual(
      new Map<string, unknown>([
        ['a', new Date(0)],
        ['b', 2],
      ]),
    )
  })

  test('a schema gives defaults, refuses what is wrong, and what is read wrongly is no session', async () => {
    const { z } = await import('zod')
    const schema = z.object({
      userId: z.string().optional(),
      cart: z.array(z.string()).default([]),
      count: z.number().optional(),
      plan: z.custom(() => false, { error: ({ input }) => `no '${String(input)}'` }).optional(),
    })
    const redis = await handle('redis', { schema })
    const jar = new Jar(redis)
    await jar.visit(({ data }) => expect(data).toEqual({ cart: [] }))
    expect(jar.cookie).toBeUndefined()
    await jar.visit(({ data }) => data.cart!.push('a'))
    await jar.visit(({ data }) => expect(data).toEqual({ cart: ['a'] }))
    expect(redis.cache.stats().sessions['commit']).toEqual({ create: 1 })
    await expect(jar.visit(({ data }) => Object.assign(data, { count: 'x' }))).rejects.toThrow(/cannot be saved/)
    // Some messages of schemas quote the value, and the message of the error goes to the client.
    const secretly = jar.visit(({ data }) => Object.assign(data, { plan: 'SECRET' }))
    await expect(secretly).rejects.toThrow(/^Session data cannot be saved: it fails its schema at plan\.$/)
    const strict = await handle(
      'redis',
      { schema: z.object({ cart: z.array(z.number()).min(2) }) },
      { url: `redis://127.0.0.1:${redis.settings.nodes[0]?.port}`, prefix: redis.settings.prefix },
    )
    expect((await strict.sessions.load(jar.cookie)).handle).toBeDefined()
    expect((await strict.sessions.load(jar.cookie)).data).toEqual({})
  })
})
