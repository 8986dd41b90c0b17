import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RedisOptions, SessionOptions } from '../../../src/index.js'
import { command, ready, secretOf, Traces } from '../../session/traces.js'
import { startRedis } from '../../support/redis-server.js'
import type { Reply } from '../client.js'
import type { Bed, Started } from '../contract.js'
import type { Call, Route } from '../host.js'

type Values = Record<string, unknown>

export const dataOf = ({ session }: Call): Values => session.data as Values

/** A browser of one cookie. */
export class Browser {
  cookie: string | undefined

  /** Over TLS the cookie is bound to its origin. */
  get name(): string {
    return this.app.protocol === 'h2' ? '__Host-session' : 'session'
  }

  /** How it is sent. */
  get attributes(): string {
    return this.app.protocol === 'h2' ? 'Path=/; HttpOnly; Secure; SameSite=Lax' : 'Path=/; HttpOnly; SameSite=Lax'
  }

  /** `issued`: every cookie that was sent. */
  constructor(
    readonly app: Started,
    readonly issued: Set<string> = new Set(),
  ) {}

  async ask(path: string, method = 'GET', headers: Record<string, string> = {}): Promise<Reply> {
    const own = this.cookie === undefined ? headers : { ...headers, cookie: this.cookie }
    const reply = await this.app.client.ask(path, { method, headers: own })
    for (const [name, value] of reply.lines) {
      if (name !== 'set-cookie' || !value.startsWith(`${this.name}=`)) continue
      const pair = value.split(';')[0] ?? ''
      this.cookie = pair === `${this.name}=` ? undefined : pair
      if (this.cookie !== undefined) this.issued.add(this.cookie)
    }
    return reply
  }

  /** Another browser at the same application. */
  other(): Browser {
    return new Browser(this.app, this.issued)
  }
}

export const setCookie = ({ lines }: Reply): string[] =>
  lines.filter(([name]) => name === 'set-cookie').map(([, line]) => line)

/** What sessions must do on every host that has them. */
export function sessions(bed: Bed): void {
  const { host, start, store } = bed
  const route = (path: string, handler: Route['handler'], more: Partial<Route> = {}): Route => ({
    ...{ method: 'GET', path, handler },
    ...more,
  })
  const shop: readonly Route[] = [
    route('/', () => 'hello'),
    route('/read', (call) => ({ json: { ...dataOf(call) } })),
    route('/write', (call) => {
      dataOf(call)['count'] = Number(dataOf(call)['count'] ?? 0) + 1
      return 'written'
    }),
    route('/stream', (call) => {
      dataOf(call)['streamed'] = true
      return { stream: pieces() }
    }),
    route(
      '/login',
      async (call) => {
        dataOf(call)['userId'] = call.header('x-user') ?? 'ann'
        const status = Number(call.header('x-status') ?? 200)
        return { status, text: 'in' }
      },
      { method: 'POST' },
    ),
    route(
      '/logout',
      async ({ session }) => {
        await session.end()
        return 'out'
      },
      { method: 'POST' },
    ),
    route('/forget', (call) => {
      delete dataOf(call)['count']
      return 'forgotten'
    }),
    route('/rotate', ({ session }) => {
      session.rotate()
      return 'rotated'
    }),
    route('/remove', (call) => {
      delete dataOf(call)['userId']
      return 'removed'
    }),
    route('/account', () => 'account', { session: {} }),
    route('/recent', () => 'recent', { session: { issuedWithin: '1h' } }),
    route('/old', () => 'old', { session: { issuedWithin: '1ms', challenge: 'Form realm="shop"' } }),
    route('/own', () => 'own', {
      session: { onReject: (reason) => ({ status: 403, body: { reason }, headers: { 'x-why': reason } }) },
    }),
    route('/devices', async ({ session }) => ({
      json: { handle: session.handle, subject: session.subject },
    })),
    route('/fail', (call) => {
      dataOf(call)['failed'] = true
      throw new Error('oh')
    }),
    route('/saved', async (call) => {
      dataOf(call)['saved'] = true
      await call.session.save()
      throw new Error('oh')
    }),
    route('/map', (call) => {
      dataOf(call)['map'] = new Map()
      return 'x'
    }),
  ]
  const made = new Traces()
  const open = async (options: SessionOptions<Call> = {}, more: RedisOptions = {}): Promise<Browser> => {
    const app = await start(shop, { sessions: options, redis: { logger: made.logger, ...more } })
    made.prefixes.push(app.redis.settings.prefix)
    return new Browser(app, made.issued)
  }

  describe.skipIf(!host.traits.sessions)('sessions', () => {
    beforeAll(() => made.begin())
    afterAll(() => made.end())

    test('an anonymous visitor costs nothing: no cookie, no Vary, nothing in Redis', async () => {
      const browser = await open()
      const { headers, text } = await browser.ask('/')
      expect([text, headers['set-cookie'], headers['vary'], headers['cache-control']]).toEqual(['hello', ...NOTHING])
      expect(browser.app.redis.cache.stats().sessions).toEqual({})
    })

    test('what is written is there at the next request; reading makes a response private', async () => {
      const browser = await open()
      const written = await browser.ask('/write')
      expect(setCookie(written)).toEqual([
        expect.stringMatching(new RegExp(`^${browser.name}=[A-Za-z0-9_-]{87}; Max-Age=28800; ${browser.attributes}$`)),
      ])
      await browser.ask('/write')
      const read = await browser.ask('/read')
      expect([JSON.parse(read.text), setCookie(read)]).toEqual([{ count: 2 }, []])
      expect([read.headers['cache-control'], read.headers['vary']?.toLowerCase()]).toEqual(['private', 'cookie'])
      expect((await browser.ask('/')).headers['cache-control']).toBeUndefined()
    })

    test('a streamed response saves before its head leaves', async () => {
      const browser = await open()
      const { text } = await browser.ask('/stream')
      expect([text, browser.cookie !== undefined]).toEqual(['onetwo', true])
      expect(JSON.parse((await browser.ask('/read')).text)).toEqual({ streamed: true })
    })

    test('a sign-in changes the id in the same response; a response that fails signs nobody in', async () => {
      const browser = await open()
      await browser.ask('/write')
      const before = browser.cookie
      expect((await browser.ask('/login', 'POST', { 'x-status': '401' })).status).toBe(401)
      expect([browser.cookie, JSON.parse((await browser.ask('/read')).text)]).toEqual([before, { count: 1 }])
      await browser.ask('/login', 'POST')
      expect(browser.cookie).not.toBe(before)
      expect(JSON.parse((await browser.ask('/read')).text)).toEqual({ count: 1, userId: 'ann' })
      const old = await browser.app.client.get('/read', { cookie: before ?? '' })
      expect([old.text, setCookie(old)]).toEqual(['{}', []])
      const late = await browser.app.client.get('/write', { cookie: before ?? '' })
      expect([late.status, setCookie(late)]).toEqual([409, []])
    })

    test('signing out ends the session and clears the cookie with the same attributes', async () => {
      const browser = await open()
      await browser.ask('/login', 'POST')
      const { cookie } = browser
      const out = await browser.ask('/logout', 'POST')
      expect(setCookie(out)).toEqual([`${browser.name}=; Max-Age=0; ${browser.attributes}`])
      expect((await browser.app.client.get('/read', { cookie: cookie ?? '' })).text).toBe('{}')
      expect(await browser.app.redis.sessions.list('ann')).toEqual([])
    })

    test('a guarded route answers 401 before its handler, with a challenge that opens no window', async () => {
      const browser = await open()
      const refused = await browser.ask('/account')
      expect([refused.status, refused.headers['www-authenticate'], refused.headers['cache-control']]).toEqual([
        ...[401, 'Session', 'no-store'],
      ])
      expect(JSON.parse(refused.text)).toEqual({ type: 'about:blank', title: 'Sign in first', status: 401 })
      await browser.ask('/write')
      expect((await browser.ask('/account')).status).toBe(401)
      const own = await browser.ask('/own')
      expect([own.status, JSON.parse(own.text), own.headers['x-why']]).toEqual([
        ...[403, { reason: 'anonymous' }, 'anonymous'],
      ])
      await browser.ask('/login', 'POST')
      expect((await browser.ask('/account')).text).toBe('account')
      expect((await browser.ask('/own')).text).toBe('own')
    })

    test('a route may ask for a recent sign-in, and then is no-store', async () => {
      const browser = await open()
      await browser.ask('/login', 'POST')
      const recent = await browser.ask('/recent')
      expect([recent.text, recent.headers['cache-control']]).toEqual(['recent', 'no-store'])
      await new Promise((resolve) => setTimeout(resolve, 5))
      const old = await browser.ask('/old')
      expect([old.status, old.headers['www-authenticate']]).toEqual([401, 'Form realm="shop"'])
    })

    test('save() is kept when the handler fails afterwards; what JSON would lose is an error of the request', async () => {
      const browser = await open()
      expect((await browser.ask('/saved')).status).toBe(500)
      expect(browser.cookie).toBeDefined()
      expect(JSON.parse((await browser.ask('/read')).text)).toEqual({ saved: true })
      expect((await browser.ask('/map')).status).toBe(500)
      expect((await browser.ask('/')).status).toBe(200)
    })

    test('two browsers are two sessions; devices have handles and descriptors, and are revoked by them', async () => {
      const one = await open({ describe: (call) => call.header('user-agent') })
      const two = one.other()
      await one.ask('/login', 'POST', { 'user-agent': 'Firefox' })
      await two.ask('/login', 'POST', { 'user-agent': 'Safari' })
      const mine = JSON.parse((await one.ask('/devices')).text) as { handle: string; subject: string }
      const devices = await one.app.redis.sessions.list('ann')
      expect(devices.map(({ descriptor }) => descriptor)).toEqual(['Firefox', 'Safari'])
      expect([devices[0]?.handle, mine.subject]).toEqual([mine.handle, 'ann'])
      await one.app.redis.sessions.revoke('ann', devices[1]!.handle)
      expect([(await one.ask('/account')).status, (await two.ask('/account')).status]).toEqual([200, 401])
      await one.app.redis.sessions.revokeAll('ann')
      expect((await one.ask('/account')).status).toBe(401)
    })

    test('cookies that were not made here never reach Redis', async () => {
      const browser = await open()
      for (const value of ['x', 'a'.repeat(87), `${'A'.repeat(86)}!`, '', '"quoted"', 'A'.repeat(200)]) {
        const { text, lines } = await browser.app.client.get('/read', { cookie: `a=b; ${browser.name}=${value}; c=d` })
        expect([text, lines.some(([name]) => name === 'set-cookie')]).toEqual(['{}', false])
      }
      expect(Object.keys(browser.app.redis.cache.stats().sessions['load'] ?? {})).toEqual(['malformed'])
    })

    test('a cached page whose handler reads the session is not stored; one that does not is, for everybody anonymous', async () => {
      let runs = 0
      const cached = (path: string, handler: Route['handler'], more: Route['cache'] = { ttl: 60 }): Route =>
        route(path, handler, { cache: more })
      const app = await start(
        [
          ...shop,
          cached('/page', () => `page ${(runs += 1)}`),
          cached('/mine', (call) => `${String(dataOf(call)['count'])} ${(runs += 1)}`),
          cached('/counting', (call) => {
            dataOf(call)['views'] = Number(dataOf(call)['views'] ?? 0) + 1
            return `counted ${(runs += 1)}`
          }),
          cached('/home', (call) => `${String(call.session.subject)} ${(runs += 1)}`, { ttl: 60, per: true }),
          cached('/cart', (call) => `${String(call.session.subject)} ${String(dataOf(call)['count'])}`, {
            ttl: 60,
            per: true,
          }),
        ],
        { sessions: {} },
      )
      const [ann, other, nobody] = [new Browser(app), new Browser(app), new Browser(app)]
      for (const browser of [ann, other]) await browser.ask('/write')
      // Anonymous with a session: the page is everybody's.
      expect((await ann.ask('/page')).cache).toBe('MISS')
      const hit = await other.ask('/page')
      expect([hit.cache, hit.text, setCookie(hit), hit.headers['cache-control']?.includes('private')]).toEqual([
        ...['HIT', 'page 1', [], false],
      ])
      // What depends on a session is nobody else's, whether it is read or written.
      for (const path of ['/mine', '/counting']) {
        const first = await ann.ask(path)
        expect(first.headers['cache-control']).toMatch(/private|no-store/)
        expect((await other.ask(path)).cache).not.toBe('HIT')
        expect((await nobody.ask(path)).cache).not.toBe('HIT')
        expect((await ann.ask(path)).cache).not.toBe('HIT')
      }
      // All anonymous visitors share what was made of the subject alone, whatever is in their sessions.
      const home = await ann.ask('/home')
      expect([home.cache, home.text.split(' ')[0]]).toEqual(['MISS', 'undefined'])
      for (const browser of [other, nobody, ann])
        expect(await browser.ask('/home')).toMatchObject({ cache: 'HIT', text: home.text })
      for (const browser of [ann, other, nobody]) expect((await browser.ask('/cart')).cache).toBe('BYPASS')
      // Per subject, who is the session's where nothing else is said.
      await ann.ask('/login', 'POST', { 'x-user': 'ann' })
      await other.ask('/login', 'POST', { 'x-user': 'bob' })
      const mine = await ann.ask('/home')
      expect([mine.cache, mine.text.split(' ')[0], mine.headers['vary']]).toEqual([
        ...['MISS', 'ann', expect.stringMatching(/cookie/i)],
      ])
      expect((await ann.ask('/home')).cache).toBe('HIT')
      const others = await other.ask('/home')
      expect([others.cache, others.text.split(' ')[0]]).toEqual(['MISS', 'bob'])
      expect([(await ann.ask('/home')).text, (await ann.ask('/home')).cache]).toEqual([mine.text, 'HIT'])
      const second = new Browser(app)
      await second.ask('/login', 'POST', { 'x-user': 'ann' })
      expect((await second.ask('/home')).text).toBe(mine.text)
      for (const reply of [mine, others, await ann.ask('/home')]) {
        expect(reply.headers['cache-control']).toContain('private')
        expect(setCookie(reply)).toEqual([])
      }
      // A signed-in user shares no page whose route does not say so.
      expect((await ann.ask('/page')).cache).not.toBe('HIT')
      await ann.ask('/logout', 'POST')
      expect((await ann.ask('/home')).text).toMatch(/^undefined/)
    })

    test('requests that `skip` leaves out pass', async () => {
      const browser = await open({ skip: (call) => call.header('x-health') === 'yes' })
      await browser.ask('/write')
      expect((await browser.ask('/', 'GET', { 'x-health': 'yes' })).text).toBe('hello')
      expect((await browser.ask('/read', 'GET', { 'x-health': 'yes' })).status).toBe(500)
    })

    test.runIf(store === 'redis')('Redis hangs, comes back, is full, and goes: what visitors see', async () => {
      const server = await startRedis()
      bed.after(() => server.close())
      const ann = await open({}, { url: server.url, commandTimeout: '300ms' })
      const { redis } = ann.app
      const others = { bob: ann.other(), eve: ann.other(), nobody: ann.other() }
      await ann.ask('/login', 'POST')
      await ann.ask('/write')
      for (const name of ['bob', 'eve'] as const) await others[name].ask('/login', 'POST', { 'x-user': name })
      const signedIn = ann.cookie
      const strict = new Browser(
        await start(shop, {
          sessions: { whenUnavailable: 'fail' },
          redis: { url: server.url, prefix: redis.settings.prefix, commandTimeout: '300ms' },
        }),
      )

      const inTrouble = async (): Promise<void> => {
        // Pages that do not ask for the session are as before.
        expect(await others.nobody.ask('/')).toMatchObject({ status: 200, text: 'hello' })
        expect(await ann.ask('/')).toMatchObject({ status: 200, text: 'hello' })
        const read = await ann.ask('/read')
        expect([read.status, read.text, read.headers['cache-control'], setCookie(read)]).toEqual([
          ...[200, '{}', 'no-store', []],
        ])
        const guarded = await ann.ask('/account')
        expect([guarded.status, guarded.headers['retry-after'], guarded.headers['www-authenticate']]).toEqual([
          ...[503, '1', undefined],
        ])
        expect((await ann.ask('/own')).headers['x-why']).toBe('unavailable')
        for (const browser of [ann, others.nobody]) {
          const written = await browser.ask('/write')
          expect([written.status, setCookie(written)]).toEqual([503, []])
        }
        // What is not known to be there is changed no less.
        for (const path of ['/forget', '/rotate']) {
          const refused = await ann.ask(path)
          expect([path, refused.status, setCookie(refused)]).toEqual([path, 503, []])
        }
        expect((await others.nobody.ask('/login', 'POST')).status).toBe(503)
        expect(ann.cookie).toBe(signedIn)
        strict.cookie = signedIn
        expect((await strict.ask('/')).status).toBe(503)
        strict.cookie = undefined
        expect(await strict.ask('/')).toMatchObject({ status: 200, text: 'hello' })
      }

      server.pause()
      await inTrouble()
      // Signing out clears the cookie even then, and says that the session may still be there.
      for (const signedOut of [await others.bob.ask('/logout', 'POST'), await others.eve.ask('/remove')])
        expect([signedOut.status, setCookie(signedOut)]).toEqual([
          ...[503, [expect.stringContaining('session=; Max-Age=0')]],
        ])
      server.resume()
      await ready(redis)
      expect((await ann.ask('/account')).text).toBe('account')

      // Full: sessions are read and ended, and nothing is written.
      await command(redis, 'CONFIG', 'SET', 'maxmemory', '1')
      expect((await ann.ask('/account')).text).toBe('account')
      expect((await ann.ask('/write')).status).toBe(503)
      const late = await others.nobody.ask('/login', 'POST', { 'x-user': 'eve' })
      expect([late.status, setCookie(late)]).toEqual([503, []])
      await command(redis, 'CONFIG', 'SET', 'maxmemory', '0')
      expect((await ann.ask('/write')).status).toBe(200)

      await server.kill()
      await inTrouble()
    })

    test.runIf(store === 'redis')('no id is in keys, values, logs or events of all that these tests made', async () => {
      const browser = await open()
      await browser.ask('/login', 'POST')
      const { text, keys } = await made.everything(browser.app.redis)
      expect(made.issued.size).toBeGreaterThan(10)
      expect(keys).toBeGreaterThan(15)
      for (const cookie of made.issued) expect(text).not.toContain(secretOf(cookie))
      // The search finds what is there.
      const [handle = ''] = [...made.issued]
        .slice(-1)
        .map((cookie) => cookie.slice(cookie.indexOf('=') + 1).slice(0, 22))
      expect(text).toContain(handle)
    })

    test('options that contradict one another are errors at the start, all in one', async () => {
      const wrong = { absoluteTtl: '1m', secrets: 'short', cookie: { sameSite: 'none', secure: false } } as const
      await expect(start(shop, { sessions: wrong })).rejects.toThrow(
        /sameSite[^]*absoluteTtl[^]*secrets: number 1 must be a string of at least 32 characters/,
      )
    })
  })
}

const NOTHING = [undefined, undefined, undefined]

async function* pieces() {
  yield 'one'
  yield 'two'
}
