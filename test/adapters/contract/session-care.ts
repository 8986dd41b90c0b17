import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import {
  type Redis,
  type Session,
  SessionError,
  type SessionOptions,
  UnavailableError,
  UsageError,
} from '../../../src/index.js'
import { MemorySessionStore } from '../../../src/session/memory-session-store.js'
import type { SessionStore } from '../../../src/session/session-store.js'
import { channels, subscribe } from '../../../src/telemetry/events.js'
import { command } from '../../session/traces.js'
import type { Bed } from '../contract.js'
import { recordingLogger } from '../../support/logger.js'
import type { Answer, Call, Route } from '../host.js'
import { Browser, dataOf, setCookie } from './sessions.js'

/** What the declarations of sessions and careless handlers lead to, on every host that has sessions. */
export function sessionCare(bed: Bed): void {
  const { host, start, store } = bed
  let held: Session | undefined
  const routes: readonly Route[] = [
    { method: 'GET', path: '/read', handler: (call) => ({ json: { ...dataOf(call) } }) },
    {
      method: 'POST',
      path: '/login',
      handler(call) {
        Object.assign(dataOf(call), { userId: call.header('x-user') ?? 'ann', account: call.header('x-account') })
        return 'in'
      },
    },
    {
      method: 'POST',
      path: '/login-again',
      handler(call) {
        dataOf(call)['userId'] = 'ann'
        call.session.rotate()
        return 'in'
      },
    },
    {
      method: 'POST',
      path: '/logout',
      handler({ session }) {
        // As applications that come from express-session write it.
        void session.end()
        return 'out'
      },
    },
    {
      method: 'POST',
      path: '/half',
      async handler(call) {
        dataOf(call)['userId'] = 'ann'
        await call.session.save()
        dataOf(call)['lost'] = new Map()
        return 'x'
      },
    },
    {
      method: 'GET',
      path: '/hold',
      handler(call) {
        held = call.session
        return 'held'
      },
    },
    {
      method: 'GET',
      path: '/home',
      cache: { ttl: 60, per: true },
      handler: (call) => `home of ${String(dataOf(call)['userId'])}`,
    },
    { method: 'GET', path: '/page', cache: { ttl: 60 }, handler: () => 'page' },
    { method: 'GET', path: '/open', cache: { ttl: 60, shared: true }, handler: () => 'open' },
    { method: 'GET', path: '/account', session: {}, handler: () => 'account' },
    { method: 'GET', path: '/written', cache: { ttl: 60, group: 'written' }, handler: () => 'old' },
    {
      method: 'PUT',
      path: '/written',
      cachePut: { ttl: 60, group: 'written' },
      cacheEvict: { group: 'written' },
      handler: () => 'new',
    },
  ]
  const open = async (options: SessionOptions<Call> = {}): Promise<Browser> =>
    new Browser(await start(routes, { sessions: options }))

  describe.skipIf(!host.traits.sessions)('sessions, with care', () => {
    test('sessions are kept in a store of the application; Redis has none of them', async () => {
      const own = new MemorySessionStore(() => performance.now())
      const seen: string[] = []
      const watched = verbsOf(own, (verb, args) => void seen.push(verb, JSON.stringify(args)))
      const browser = await open({ store: watched })
      const { redis } = browser.app
      await browser.ask('/login', 'POST')
      expect((await browser.ask('/account')).text).toBe('account')
      const [device] = await redis.sessions.list('ann')
      expect(await redis.sessions.revoke('ann', device?.handle ?? '')).toBe(true)
      expect((await browser.ask('/account')).status).toBe(401)
      expect(new Set(seen.filter((_, index) => index % 2 === 0))).toEqual(
        new Set(['admit', 'create', 'load', 'handles', 'describe', 'has', 'end', 'withdraw']),
      )
      // The store is shown nothing that opens a session.
      for (const cookie of browser.issued) expect(seen.join()).not.toContain(cookie.slice(-43))
      const pattern = `${redis.settings.prefix}:s[eu]*`
      expect(store === 'redis' ? await command(redis, 'KEYS', pattern) : []).toEqual([])
    })

    test('a write-through that also evicts is stored for anonymous visitors, and for nobody who is signed in', async () => {
      const browser = await open()
      expect((await browser.ask('/written')).text).toBe('old')
      expect((await browser.ask('/written', 'PUT')).cache).toBe('MISS')
      expect(await browser.ask('/written')).toMatchObject({ cache: 'HIT', text: 'new' })
      await browser.ask('/login', 'POST')
      expect((await browser.ask('/written', 'PUT')).cache).toBe('BYPASS')
    })

    test('counts and events say what became of each session, and not whose it is', async () => {
      const browser = await open({ describe: () => 'Firefox' })
      const { redis } = browser.app
      const events: { readonly operation: string; readonly outcome: string }[] = []
      bed.after(subscribe(channels.session.name as 'redwell:session', (event) => void events.push(event)))
      await browser.ask('/read')
      await browser.ask('/login', 'POST')
      await browser.ask('/read')
      await browser.ask('/login', 'POST', { 'x-user': 'bob' })
      await browser.app.client.get('/read', { cookie: `${browser.name}=nonsense` })
      await redis.sessions.list('bob')
      await browser.ask('/logout', 'POST')
      await redis.sessions.revokeAll('bob')
      expect(redis.cache.stats().sessions).toEqual({
        load: { loaded: 3, malformed: 1 },
        commit: { create: 1, rotate: 1, 'clear-cookie': 1 },
        ...{ end: { ended: 1 }, list: { done: 1 }, 'revoke-all': { done: 1 } },
      })
      const named = events.map(({ operation, outcome }) => `${operation} ${outcome}`)
      expect(named.toSorted()).toEqual([
        ...['commit clear-cookie', 'commit create', 'commit rotate', 'end ended', 'list done'],
        ...['load loaded', 'load loaded', 'load loaded', 'load malformed', 'revoke-all done'],
      ])
      for (const event of events)
        expect(Object.keys(event).toSorted()).toEqual(['at', 'durationMs', 'operation', 'outcome'])
    })

    test('users of one account have pages of their own; their sessions are listed and revoked together', async () => {
      const ann = await open({ subject: (data) => (data as { account?: string }).account })
      const [bob, eve] = [ann.other(), ann.other()]
      await ann.ask('/login', 'POST', { 'x-user': 'ann', 'x-account': 'acme' })
      await bob.ask('/login', 'POST', { 'x-user': 'bob', 'x-account': 'acme' })
      expect((await ann.ask('/home')).text).toBe('home of ann')
      expect(await bob.ask('/home')).toMatchObject({ cache: 'MISS', text: 'home of bob' })
      expect(await ann.ask('/home')).toMatchObject({ cache: 'HIT', text: 'home of ann' })
      expect([(await ann.ask('/open')).cache, (await bob.ask('/open')).cache]).toEqual(['MISS', 'HIT'])
      // Who has no account is signed in all the same, and shares no page.
      await eve.ask('/login', 'POST', { 'x-user': 'eve' })
      expect((await eve.ask('/account')).status).toBe(200)
      expect((await eve.ask('/page')).cache).not.toBe('MISS')
      const { sessions } = ann.app.redis
      expect([(await sessions.list('acme')).length, (await sessions.list('eve')).length]).toEqual([2, 1])
      // Another account is another owner, and another id.
      const before = bob.cookie
      await bob.ask('/login', 'POST', { 'x-user': 'bob', 'x-account': 'other' })
      expect(bob.cookie).not.toBe(before)
      expect(await sessions.revokeAll('acme')).toBe(1)
      expect([(await ann.ask('/account')).status, (await bob.ask('/account')).status]).toEqual([401, 200])
    })

    test('who signs in again as the same user gets another id and time, as the docs write it; the old id opens nothing', async () => {
      const browser = await open()
      const { redis } = browser.app
      const signedIn = async () => {
        await browser.ask('/login-again', 'POST')
        const [device, ...others] = await redis.sessions.list('ann')
        expect(others).toEqual([])
        return { cookie: browser.cookie ?? '', issuedAt: device?.issuedAt.getTime() ?? 0, handle: device?.handle }
      }
      const [first, second] = [await signedIn(), await signedIn()]
      expect(second.cookie).not.toBe(first.cookie)
      expect([second.issuedAt >= first.issuedAt, second.handle]).toEqual([true, first.handle])
      const { client } = browser.app
      expect((await client.get('/account', { cookie: first.cookie })).status).toBe(401)
      expect((await client.get('/account', { cookie: second.cookie })).status).toBe(200)
    })

    test('a sign-in that was refused with 503 leaves no device of that user, and nothing that ends the session of another', async () => {
      const own = new MemorySessionStore(() => performance.now())
      let isDown = false
      const watched = verbsOf(own, (verb) => {
        if (isDown && verb !== 'load' && verb !== 'admit') throw new UnavailableError('deadline', 'no answer')
      })
      const ann = await open({ store: watched, maxPerSubject: 2 })
      const { sessions } = ann.app.redis
      await ann.ask('/login', 'POST')
      const [device] = await sessions.list('ann')
      isDown = true
      expect((await ann.ask('/login', 'POST', { 'x-user': 'bob' })).status).toBe(503)
      isDown = false
      expect(await sessions.list('bob')).toEqual([])
      expect(await sessions.revoke('bob', device?.handle ?? '')).toBe(false)
      // Nor does it take the place of a device, or is ended to make one.
      const [one, two, three] = [ann.other(), ann.other(), ann.other()]
      for (const browser of [one, two, three]) await browser.ask('/login', 'POST', { 'x-user': 'bob' })
      expect(await sessions.list('bob')).toHaveLength(2)
      const answers = await Promise.all(
        [ann, one, two, three].map(async (browser) => (await browser.ask('/account')).status),
      )
      expect(answers).toEqual([200, 401, 200, 200])
    })

    test('the cookie that this host sends is the one that other code loads, as at a WebSocket upgrade', async () => {
      const browser = await open()
      await browser.ask('/login', 'POST')
      const { sessions } = browser.app.redis
      const session = await sessions.load(`a=b; ${browser.cookie}`)
      expect(session.subject).toBe('ann')
      session.rotate()
      await session.save()
      // What it sends goes in the place of that cookie.
      expect(session.setCookie?.replace(/=[\w-]{87}; Max-Age=\d+/, '')).toBe(`${browser.name}; ${browser.attributes}`)
    })

    test('a sign-out that the handler does not wait for is waited for, and its failure is that of the response', async () => {
      const own = new MemorySessionStore(() => performance.now())
      let isDown = false
      const browser = await open({
        store: verbsOf(own, async (verb) => {
          await turn()
          if (verb === 'end' && isDown) throw new UnavailableError('deadline', 'no answer')
        }),
      })
      await browser.ask('/login', 'POST')
      const { cookie } = browser
      isDown = true
      const failed = await browser.ask('/logout', 'POST')
      expect([failed.status, setCookie(failed)]).toEqual([503, [expect.stringContaining('Max-Age=0')]])
      isDown = false
      browser.cookie = cookie
      expect((await browser.ask('/account')).status).toBe(200)
      expect((await browser.ask('/logout', 'POST')).status).toBe(200)
      browser.cookie = cookie
      expect((await browser.ask('/account')).status).toBe(401)
    })

    test('the cookie of what was saved is sent though the rest could not be saved', async () => {
      const browser = await open()
      expect((await browser.ask('/half', 'POST')).status).toBe(500)
      expect((await browser.ask('/account')).text).toBe('account')
      const before = browser.cookie
      expect((await browser.ask('/half', 'POST')).status).toBe(500)
      expect([(await browser.ask('/account')).status, browser.cookie]).toEqual([200, before])
    })

    test('a response that depends on any member of the session is private and nobody else gets it', async () => {
      const members = {
        handle: ({ handle }) => handle,
        createdAt: ({ createdAt }) => createdAt,
        issuedAt: ({ issuedAt }) => issuedAt,
        expiresAt: ({ expiresAt }) => expiresAt,
        available: ({ available }) => available,
        subject: ({ subject }) => subject,
        data: ({ data }) => JSON.stringify(data),
        setCookie: (session) => session.setCookie,
      } satisfies Record<string, (session: Session) => unknown>
      // Whoever adds a member says here how it is read.
      type Readable = { [Name in keyof Session]: Session[Name] extends (...args: never) => unknown ? never : Name }
      const all: Record<Exclude<Readable[keyof Session], Internal>, unknown> = members
      const cached = Object.entries(members).flatMap(([name, read]) =>
        [undefined, true].map((shared): Route => ({
          ...{ method: 'GET', path: `/${name}/${shared === true ? 'shared' : 'plain'}` },
          cache: shared === true ? { ttl: 60, shared } : { ttl: 60 },
          handler: ({ session }) => `${name} ${String(read(session))}`,
        })),
      )
      const app = await start([...routes, ...cached], { sessions: {} })
      const [ann, bob] = [new Browser(app), new Browser(app)]
      await ann.ask('/login', 'POST')
      await bob.ask('/login', 'POST', { 'x-user': 'bob' })
      expect(Object.keys(all)).toHaveLength(cached.length / 2)
      for (const { path } of cached)
        for (const browser of [ann, bob]) {
          const { cache, headers } = await browser.ask(path)
          expect([path, cache === 'HIT', headers['cache-control'], headers['vary']]).toEqual([
            ...[path, false, expect.stringMatching(/private|no-store/), expect.stringMatching(/cookie/i)],
          ])
        }
    })

    test('a handler that is refused a save answers itself; what it does not handle, or changes afterwards, is an error', async () => {
      const own = new MemorySessionStore(() => performance.now())
      let isDown = false
      let revoke = (): unknown => undefined
      const refused = (session: Session): Promise<string> =>
        session.save().then(
          () => 'saved',
          (error: unknown) => (error instanceof SessionError ? error.reason : (error as Error).name),
        )
      const ways: Record<string, (call: Call) => Promise<Answer>> = {
        answers: async ({ session }) => ({ status: 202, text: await refused(session), headers: [['x-own', 'yes']] }),
        'answers 404': async ({ session }) => ({ status: 404, text: await refused(session) }),
        throws: async ({ session }) => {
          await session.save()
          return {}
        },
        'does not wait': async ({ session }) => {
          void session.save()
          return {}
        },
        'changes more': async (call) => {
          await refused(call.session)
          dataOf(call)['more'] = 1
          return {}
        },
      }
      const troubles: Record<string, (call: Call) => unknown> = {
        ended: () => revoke(),
        unavailable: () => (isDown = true),
        ValueError: (call) => (dataOf(call)['lost'] = new Map()),
        none: () => undefined,
      }
      const cells = Object.entries(ways).flatMap(([way, answer]) =>
        Object.entries(troubles).map(
          ([trouble, begin]): Route & { readonly way: string; readonly trouble: string } => ({
            ...{ method: 'POST', path: `/${way.replaceAll(' ', '-')}/${trouble}`, way, trouble },
            async handler(call) {
              dataOf(call)['count'] = 1
              await begin(call)
              return answer(call)
            },
          }),
        ),
      )
      const app = await start([...routes, ...cells], {
        sessions: {
          store: verbsOf(own, (verb) => {
            if (isDown && verb === 'save') throw new UnavailableError('deadline', 'no answer')
          }),
        },
      })
      revoke = () => app.redis.sessions.revokeAll('ann')
      const errors: Record<string, number> = { ended: 409, unavailable: 503, ValueError: 500, none: 200 }
      for (const { path, way, trouble } of cells) {
        const browser = new Browser(app)
        await browser.ask('/login', 'POST')
        const { status, text, headers } = await browser.ask(path, 'POST')
        isDown = false
        const expected: unknown[] = {
          answers: [202, trouble === 'none' ? 'saved' : trouble, 'yes'],
          'answers 404': [404, trouble === 'none' ? 'saved' : trouble, undefined],
        }[way] ?? [errors[trouble]]
        expect([path, ...[status, text, headers['x-own']].slice(0, expected.length)]).toEqual([path, ...expected])
      }
    })

    test.each([
      ['nothing declared', {}, 'ended'],
      ['cacheEvict', { cacheEvict: { group: 'orders' } }, 'ended'],
      ['cachePut', { cachePut: { ttl: 60, shared: true } }, 'ended'],
      ['nothing declared', {}, 'unavailable'],
    ] as const)('a write whose session cannot be saved has written: %s, %s', async (_, declared, trouble) => {
      let state = 0
      let isDown = false
      let revoke = async (): Promise<unknown> => undefined
      const show = (): string => `${state}`
      const app = await start(
        [
          ...routes,
          { method: 'GET', path: '/order', cache: { ttl: 60, shared: true, group: 'orders' }, handler: show },
          {
            ...{ method: 'PUT', path: '/order', ...declared },
            async handler(call) {
              state += 1
              dataOf(call)['last'] = state
              if (trouble === 'ended') await revoke()
              else isDown = true
              return show()
            },
          },
        ],
        {
          sessions: {
            store: verbsOf(new MemorySessionStore(() => performance.now()), (verb) => {
              if (isDown && verb === 'save') throw new UnavailableError('deadline', 'no answer')
            }),
          },
        },
      )
      revoke = () => app.redis.sessions.revokeAll('ann')
      const browser = new Browser(app)
      await browser.ask('/login', 'POST')
      await app.client.get('/order')
      await app.redis.cache.settled()
      expect((await app.client.get('/order')).cache).toBe('HIT')
      expect((await browser.ask('/order', 'PUT')).status).toBe(trouble === 'ended' ? 409 : 503)
      expect((await app.client.get('/order')).text).toBe('1')
    })

    test('a list or a revocation that Redis does not answer is a 503', async () => {
      const own = new MemorySessionStore(() => performance.now())
      const down = verbsOf(own, () => {
        throw new UnavailableError('deadline', 'no answer')
      })
      const app: { sessions?: Redis['sessions'] } = {}
      const calls: Record<string, () => unknown> = {
        list: () => app.sessions?.list('ann'),
        revoke: () => app.sessions?.revoke('ann', 'A'.repeat(22)),
        'revoke-all': () => app.sessions?.revokeAll('ann'),
      }
      const asked = Object.entries(calls).map(([name, call]): Route => ({
        ...{ method: 'GET', path: `/${name}` },
        async handler() {
          await call()
          return name
        },
      }))
      const { client, redis } = await start(asked, { sessions: { store: down } })
      app.sessions = redis.sessions
      for (const { path } of asked) expect((await client.get(path)).status).toBe(503)
    })

    test('a cached stream that reads the session after its first byte is not stored, and that is said once', async () => {
      const logger = recordingLogger()
      let gate = gateOf()
      const streamed = (path: string, cache: NonNullable<Route['cache']>): Route => ({
        ...{ method: 'GET', path, cache },
        handler: ({ session }) => ({ stream: piecesOf(gate.opened, () => session.handle) }),
      })
      const cached = [streamed('/streamed', { ttl: 60 }), streamed('/streamed/shared', { ttl: 60, shared: true })]
      const app = await start([...routes, ...cached], { sessions: {}, redis: { logger } })
      const ann = new Browser(app)
      await ann.ask('/login', 'POST')
      const readAll = async (path: string, cookie: string): Promise<string> => {
        gate = gateOf()
        const opened = await app.client.open(path, { cookie })
        gate.open()
        let text = ''
        for (let piece = await opened.next(); piece !== undefined; piece = await opened.next()) text += piece
        return text
      }
      for (const { path } of cached) {
        for (const who of [ann.cookie ?? '', ann.cookie ?? ''])
          expect(await readAll(path, who)).toMatch(/^first [\w-]{22}$/)
        // Nobody else gets it.
        expect(await readAll(path, '')).toBe('first undefined')
      }
      await app.redis.cache.settled()
      expect(logger.lines.filter((line) => line.includes('/streamed/shared was not stored'))).toEqual([
        expect.stringContaining('(it read request.session)'),
      ])
    })

    test('after the response changes are saved by save(), and nothing that needs a cookie is', async () => {
      const browser = await open()
      const later = async (change: Record<string, unknown>): Promise<unknown> => {
        await browser.ask('/hold')
        Object.assign(held?.data ?? {}, change)
        return held?.save().catch((error: unknown) => error)
      }
      expect(await later({ count: 1 })).toBeInstanceOf(UsageError)
      await browser.ask('/login', 'POST')
      expect(await later({ count: 2 })).toBeUndefined()
      expect(await later({ userId: 'bob' })).toBeInstanceOf(UsageError)
      expect(await later({ userId: undefined })).toBeInstanceOf(UsageError)
      // At once, for who works on after the response may never save.
      expect(() => held?.rotate()).toThrow(UsageError)
      expect(JSON.parse((await browser.ask('/read')).text)).toMatchObject({ userId: 'ann', count: 2 })
      await browser.ask('/hold')
      await held?.end()
      expect((await browser.ask('/account')).status).toBe(401)
    })

    test('of several cookies the one that can be ours counts, among others of any size', async () => {
      const browser = await open()
      await browser.ask('/login', 'POST')
      const own = browser.cookie ?? ''
      const { name } = browser
      const pad = `pad=${'x'.repeat(7000)}`
      for (const field of [
        `${name}=; ${own}`,
        `${name}=planted; ${name}="${own.slice(name.length + 1)}"; ${own}`,
        `${pad}; ${own}; ${name}=planted`,
        `x${own}; ${own};;; =; ${name}`,
        `${own}; ${own}`,
      ])
        expect((await browser.app.client.get('/account', { cookie: field })).text).toBe('account')
      for (const field of [`x${own}`, `${own}x`, `${name.toUpperCase()}${own.slice(name.length)}`, `a=${own}`])
        expect((await browser.app.client.get('/account', { cookie: field })).status).toBe(401)
    })
  })
}

/** Members that are no part of the declarations. */
type Internal = 'issuedForSeconds' | 'effects' | 'binding'

/** A store that does the same after the watcher has seen what it is asked. */
function verbsOf(store: SessionStore, watch: (verb: string, args: readonly unknown[]) => unknown): SessionStore {
  return new Proxy(store, {
    get(target, verb: string) {
      const method = Reflect.get(target, verb) as (...args: unknown[]) => unknown
      return async (...args: unknown[]) => {
        await watch(verb, args)
        return method.apply(target, args)
      }
    },
  })
}

async function* piecesOf(gate: Promise<void>, last: () => unknown): AsyncGenerator<string> {
  yield 'first '
  await gate
  yield String(last())
}

function gateOf(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}
