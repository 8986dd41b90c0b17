import { describe, expect, test } from 'vitest'
import { OptionsError, type Session, SessionError, UnavailableError, UsageError, ValueError } from '../../src/index.js'
import { handle, Jar } from './bed.js'

describe.each(['memory', 'redis'] as const)('sessions on %s', (store) => {
  test('an anonymous request that writes nothing has no cookie, no key and no trip', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => data.userId)
    expect(jar.cookie).toBeUndefined()
    expect(redis.cache.stats().sessions).toEqual({})
  })

  test('what is written is there at the next request, nested changes too; who only reads writes nothing', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.nested = { list: [{ n: 1 }] }))
    const first = jar.cookie
    expect(first).toMatch(/^__Host-session=[A-Za-z0-9_-]{87}$/)
    await jar.visit(({ data }) => void (data.nested!.list[0]!.n = 2))
    await jar.visit(({ data }) => expect(data).toEqual({ nested: { list: [{ n: 2 }] } }))
    await jar.visit(({ data }) => delete data.nested)
    await jar.visit(({ data }) => expect(data).toEqual({}))
    expect(jar.cookie).toBe(first)
    expect(redis.cache.stats().sessions).toEqual({ load: { loaded: 4 }, commit: { create: 1, write: 2 } })
  })

  test('a sign-in changes the id, in the same response, and keeps the data', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.cart = ['a']))
    const anonymous = jar.cookie
    await jar.visit(({ data }) => void (data.userId = 'ann'))
    expect(jar.cookie).not.toBe(anonymous)
    const session = await jar.load()
    expect([session.subject, session.data]).toEqual(['ann', { cart: ['a'], userId: 'ann' }])
    expect((await redis.sessions.load(anonymous)).data).toEqual({})
    const [device] = await redis.sessions.list('ann', { current: session })
    expect(device).toMatchObject({ handle: session.handle, current: true, descriptor: undefined })
    // Only the handle is the same.
    expect(jar.cookie?.slice(15, 37)).toBe(anonymous?.slice(15, 37))
  })

  test('a sign-in by a response that fails is not written', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.userId = 'ann'), false)
    expect([jar.cookie, await redis.sessions.list('ann')]).toEqual([undefined, []])
    await jar.visit(({ data }) => void (data.count = 1), false)
    await jar.visit(({ data }) => Object.assign(data, { userId: 'ann', count: 2 }), false)
    expect((await jar.load()).data).toEqual({ count: 1 })
  })

  test('signing out ends the session and the cookie, and what is written afterwards begins another', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.userId = 'ann'))
    const old = jar.cookie
    await jar.visit(async (session) => {
      const { data } = session
      await session.end()
      expect(() => (data.theme = 'dark')).toThrow(TypeError)
      expect([session.data, session.handle]).toEqual([{}, undefined])
      expect(session.setCookie).toBe('__Host-session=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax')
      session.data.theme = 'dark'
    })
    expect(jar.cookie).not.toBe(old)
    expect((await redis.sessions.load(old)).data).toEqual({})
    expect((await jar.load()).data).toEqual({ theme: 'dark' })
    expect(await redis.sessions.list('ann')).toEqual([])
  })

  test('a principal that goes, or becomes another, changes the id and the list', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => Object.assign(data, { userId: 'ann', theme: 'dark' }))
    const first = jar.cookie
    await jar.visit(({ data }) => void (data.userId = 'bob'))
    expect(await redis.sessions.list('ann')).toEqual([])
    expect(await redis.sessions.list('bob')).toHaveLength(1)
    const second = jar.cookie
    await jar.visit(({ data }) => delete data.userId)
    expect(await redis.sessions.list('bob')).toEqual([])
    expect((await jar.load()).data).toEqual({ theme: 'dark' })
    for (const old of [first, second]) expect((await redis.sessions.load(old)).data).toEqual({})
    // Nothing is left: the session goes.
    await jar.visit(({ data }) => void (data.userId = 'eve'))
    await jar.visit(({ data }) => {
      delete data.userId
      delete data.theme
    })
    expect(jar.cookie).toBeUndefined()
  })

  test('one session of a subject is revoked by its handle, and only by that subject', async () => {
    const redis = await handle(store)
    const [one, two] = [new Jar(redis), new Jar(redis)]
    for (const jar of [one, two]) await jar.visit(({ data }) => void (data.userId = 'ann'))
    const devices = await redis.sessions.list('ann')
    const first = devices[0]?.handle ?? ''
    expect(await redis.sessions.revoke('bob', first)).toBe(false)
    expect(await redis.sessions.revoke('ann', 'nonsense')).toBe(false)
    expect(await redis.sessions.revoke('ann', first)).toBe(true)
    expect(await redis.sessions.revoke('ann', first)).toBe(false)
    expect((await one.load()).subject).toBeUndefined()
    expect((await two.load()).subject).toBe('ann')
    expect(await redis.sessions.list('ann')).toHaveLength(1)
  })

  test('all sessions of a subject are revoked, but the one that is kept', async () => {
    const redis = await handle(store)
    const jars = [new Jar(redis), new Jar(redis), new Jar(redis)]
    for (const jar of jars) await jar.visit(({ data }) => void (data.userId = 'ann'))
    const [mine, ...others] = jars
    await mine!.visit(async (session) => {
      expect(await redis.sessions.revokeAll('ann', { except: session })).toBe(2)
      session.rotate()
    })
    expect((await mine!.load()).subject).toBe('ann')
    for (const jar of others) expect((await jar.load()).subject).toBeUndefined()
    expect(await redis.sessions.list('ann')).toHaveLength(1)
    expect(await redis.sessions.revokeAll('ann')).toBe(1)
    expect((await mine!.load()).subject).toBeUndefined()
    // A number counts by its text.
    await mine!.visit(({ data }) => void (data.userId = '7'))
    expect(await redis.sessions.revokeAll(7)).toBe(1)
    await expect(redis.sessions.list('')).rejects.toThrow(OptionsError)
  })

  test('a sign-in right after an awaited revokeAll is not refused, nor one that revokes the others itself', async () => {
    const redis = await handle(store)
    for (let turn = 0; turn < 20; turn += 1) {
      await redis.sessions.revokeAll('ann')
      await new Jar(redis).visit(({ data }) => void (data.userId = 'ann'))
    }
    const jar = new Jar(redis)
    await jar.visit(async (session) => {
      await redis.sessions.revokeAll('ann', { except: session })
      session.data.userId = 'ann'
    })
    expect(await redis.sessions.list('ann')).toHaveLength(1)
    expect((await jar.load()).subject).toBe('ann')
  })

  test('beyond maxPerSubject the oldest session goes; lapsed ones before a live one', async () => {
    const redis = await handle(store, { maxPerSubject: 2 })
    const jars = [new Jar(redis), new Jar(redis), new Jar(redis), new Jar(redis)]
    const signIn = (jar: Jar) => jar.visit(({ data }) => void (data.userId = 'ann'))
    await signIn(jars[0]!)
    await signIn(jars[1]!)
    await jars[1]!.visit((session) => session.end())
    await signIn(jars[2]!)
    const alive = async () => Promise.all(jars.map(async (jar) => (await jar.load()).subject !== undefined))
    expect(await alive()).toEqual([true, false, true, false])
    await signIn(jars[3]!)
    expect(await alive()).toEqual([false, false, true, true])
    expect(await redis.sessions.list('ann')).toHaveLength(2)
  })

  test('save() commits at once, whatever the response; later changes are saved as well', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(async (session) => {
      session.data.userId = 'ann'
      await session.save()
      expect(session.setCookie).toBeDefined()
      session.data.count = 1
      await Promise.all([session.save(), session.save()])
      session.data.count = 2
    }, false)
    expect((await jar.load()).data).toEqual({ userId: 'ann', count: 2 })
  })

  test('what JSON would lose, and what a principal cannot be, is refused when it is written', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    const write = (value: unknown) => jar.visit(({ data }) => void (data.anything = value))
    for (const value of [
      new Map([[1, 2]]),
      new Set([1]),
      () => 1,
      [Symbol('x')],
      { n: NaN },
      /x/,
      { deep: [new Map()] },
    ])
      await expect(write(value)).rejects.toThrow(ValueError)
    await expect(write(1n)).rejects.toThrow(/'anything'/)
    const circle: { self?: unknown } = {}
    circle.self = circle
    await expect(write(circle)).rejects.toThrow(ValueError)
    await write(new Date(0))
    expect((await jar.load()).data).toEqual({ anything: '1970-01-01T00:00:00.000Z' })
    await expect(jar.visit(({ data }) => Object.assign(data, { userId: { id: 1 } }))).rejects.toThrow(OptionsError)
    await expect(jar.visit(({ data }) => Object.assign(data, { '': 1 }))).rejects.toThrow(/a name/)
  })

  test('names such as __proto__ are names like others', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) =>
      Object.defineProperty(data, '__proto__', { value: { admin: true }, enumerable: true, configurable: true }),
    )
    const { data } = await jar.load()
    expect(Object.keys(data)).toEqual(['__proto__'])
    expect('admin' in data).toBe(false)
  })

  test('`initial` is there for anonymous requests, and is not written until it changes', async () => {
    const redis = await handle(store, { initial: () => ({ cart: [], theme: 'light' }) })
    const jar = new Jar(redis)
    await jar.visit(({ data }) => expect(data).toEqual({ cart: [], theme: 'light' }))
    expect(jar.cookie).toBeUndefined()
    await jar.visit(({ data }) => data.cart!.push('a'))
    await jar.visit(({ data }) => expect(data).toEqual({ cart: ['a'], theme: 'light' }))
    expect(redis.cache.stats().sessions).toMatchObject({ commit: { create: 1 } })
  })

  test('a request that `skip` leaves out has no data', async () => {
    const redis = await handle(store, { skip: (request: { url: string }) => request.url === '/health' })
    const session = await redis.sessions.open({ native: { url: '/health' }, cookieHeader: undefined })
    expect(() => session.data).toThrow(UsageError)
    expect((await redis.sessions.open({ native: { url: '/' }, cookieHeader: undefined })).data).toEqual({})
  })

  test('concurrent changes of different properties are all kept', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => Object.assign(data, { userId: 'ann', cart: ['a'] }))
    const [slow, fast] = [await jar.load(), await jar.load()]
    slow.data.theme = 'dark'
    fast.data.cart!.push('b')
    await fast.save()
    await slow.save()
    expect((await jar.load()).data).toEqual({ userId: 'ann', cart: ['a', 'b'], theme: 'dark' })
  })

  test('a change by a request that loaded before a sign-in is refused; one before a rotation is kept', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.count = 1))
    const early = await jar.load()
    early.data.count = 2
    await jar.visit(({ data }) => void (data.userId = 'ann'))
    await expect(early.save()).rejects.toMatchObject({ statusCode: 409, reason: 'moved' })
    const before = await jar.load()
    before.data.theme = 'dark'
    await jar.visit((session) => session.rotate())
    await before.save()
    expect(before.setCookie).toBeUndefined()
    expect((await jar.load()).data).toEqual({ count: 1, userId: 'ann', theme: 'dark' })
  })

  test('a login as the same user beside a rotation is refused: whoever has the new id would stay signed in', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.userId = 'ann'))
    const thief = new Jar(redis)
    thief.cookie = jar.cookie
    const login = await jar.load()
    await thief.visit((session) => session.rotate())
    Object.assign(login.data, { userId: 'ann', theme: 'dark' })
    login.rotate()
    await expect(login.save()).rejects.toMatchObject({ statusCode: 409, reason: 'moved' })
    expect([login.setCookie, (await thief.load()).data]).toEqual([undefined, { userId: 'ann' }])
    // Once more, it begins a session of its own; those that are there are ended by revokeAll.
    await jar.visit(async (session) => {
      session.data.userId = 'ann'
      await redis.sessions.revokeAll('ann', { except: session })
    })
    expect([(await jar.load()).subject, (await thief.load()).subject]).toEqual(['ann', undefined])
  })

  test('a request with the id from before a rotation is anonymous: no cookie, no session, its change an error', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.count = 1))
    const old = new Jar(redis)
    old.cookie = jar.cookie
    await jar.visit(({ data }) => void (data.userId = 'ann'))
    await old.visit(({ data }) => expect(data).toEqual({}))
    await expect(old.visit(({ data }) => void (data.count = 2))).rejects.toThrow(SessionError)
    await expect(old.visit((session) => session.end())).rejects.toThrow(SessionError)
    // What is not known to be there is changed no less.
    for (const change of [
      ({ data }: Session) => delete data.userId,
      (session: Session) => session.rotate(),
      (session: Session) => session.regenerate({}),
    ])
      await expect(old.visit(change)).rejects.toMatchObject({ reason: 'moved' })
    expect((await jar.load()).data).toEqual({ count: 1, userId: 'ann' })
    const { cookie } = old
    await old.visit(({ data }) => void (data.userId = 'bob'))
    expect(old.cookie?.slice(15, 37)).not.toBe(cookie?.slice(15, 37))
    expect((await old.load()).data).toEqual({ userId: 'bob' })
  })

  test('a session that ended meanwhile is not brought back', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar.visit(({ data }) => void (data.userId = 'ann'))
    const [writes, rotates, touches, signs] = [await jar.load(), await jar.load(), await jar.load(), await jar.load()]
    writes.data.count = 1
    rotates.rotate()
    touches.touch()
    signs.data.userId = 'bob'
    await jar.visit((session) => session.end())
    for (const session of [writes, rotates, touches, signs])
      await expect(session.save()).rejects.toMatchObject({ reason: 'ended' })
    expect([await redis.sessions.list('ann'), await redis.sessions.list('bob')]).toEqual([[], []])
  })

  test('a sign-in that was under way does not slip past revokeAll', async () => {
    const redis = await handle(store)
    const jar = new Jar(redis)
    await jar
      .visit(async ({ data }) => {
        data.userId = 'ann'
        await redis.sessions.revokeAll('ann')
      })
      .then(
        () => expect.unreachable(),
        (error: unknown) => expect(error).toMatchObject({ reason: 'revoked', statusCode: 409 }),
      )
    expect([jar.cookie, await redis.sessions.list('ann')]).toEqual([undefined, []])
  })
})

test('sessions can be kept on a Redis of their own, next to a cache on another one', async () => {
  const kept = await handle('redis')
  const app = await handle('memory', { store: kept.sessions.storage })
  const jar = new Jar(app)
  await jar.visit(({ data }) => void (data.userId = 'ann'))
  expect(await kept.sessions.list('ann')).toHaveLength(1)
  expect((await kept.sessions.load(jar.cookie)).subject).toBe('ann')
  expect(await app.sessions.revokeAll('ann')).toBe(1)
  expect((await jar.load()).subject).toBeUndefined()
  await jar.visit(({ data }) => void (data.userId = 'ann'))
  await kept.close()
  await expect(app.sessions.list('ann')).rejects.toThrow(UnavailableError)
  expect((await jar.load()).available).toBe(false)
})
