import { describe, expect, test } from 'vitest'
import type { RateLimitOptions } from '../../../src/index.js'
import type { Bed, Started } from '../contract.js'
import type { Call, Route } from '../host.js'
import { Browser, dataOf } from './sessions.js'

const LATER_MS = 20_000

/** Background refreshes are requests of no client: what stands before the cache must not take them for one. */
export function refreshes({ host, start }: Bed): void {
  let now = Date.now()
  const page = (more: Partial<Route> = {}): Route => {
    let runs = 0
    const cache = { ttl: 10, staleWhileRevalidate: 3600 }
    return { method: 'GET', path: '/x', cache, handler: () => `run ${++runs}`, ...more }
  }
  const open = (route: Route, more: Parameters<Bed['start']>[1] = {}): Promise<Started> =>
    start([route], { ...more, redis: { now: () => now } })
  /** Everything that the application stores in the background has been. */
  const later = async ({ redis }: Started): Promise<void> => {
    await redis.cache.settled()
    now += LATER_MS
  }

  const limits: Record<string, RateLimitOptions<Call>> = {
    'of what a refresh has as well': { rate: '5/hour', per: (call) => call.header('accept') ?? 'anyone' },
    'of who has a name': { rate: '5/hour', per: (call) => call.header('x-user'), whenUnavailable: 'deny' },
  }

  describe.runIf(host.traits.limits && host.traits.refreshes)('a rate limit counts no background refresh', () => {
    const places: Record<string, (rateLimit: RateLimitOptions<Call>) => Promise<Started>> = {
      'of the application': (rateLimit) => open(page(), { rateLimit }),
      'of the route': (rateLimit) => open(page({ rateLimit })),
      ...(host.traits.limitsBehindCache && {
        'behind the cache': (rateLimit) => {
          let runs = 0
          // With a validator, by which the request that its handler sees is another one.
          const handler = () => ({ headers: [['etag', `"${++runs}"`]] as const, text: `run ${runs}` })
          return open(page({ rateLimit: { ...rateLimit, rate: '1/hour' }, limitsBehindCache: true, handler }))
        },
      }),
    }
    const rows = Object.entries(places).flatMap(([place, opened]) =>
      Object.entries(limits).map(([name, limit]) => [place, name, () => opened(limit)] as const),
    )

    test.each(rows)('a limit %s, %s', async (_place, _name, opened) => {
      const app = await opened()
      const ask = async () => {
        const { text, status } = await app.client.get('/x', { 'x-user': 'ann' })
        return [status, text]
      }
      expect(await ask()).toEqual([200, 'run 1'])
      for (const turn of [1, 2]) {
        await later(app)
        expect(await ask()).toEqual([200, `run ${turn}`])
        await app.redis.cache.settled()
        expect(await ask()).toEqual([200, `run ${turn + 1}`])
      }
    })
  })

  describe.runIf(host.traits.refreshes)('a refresh that the application refuses', () => {
    const refused = async (app: Started, browser: Pick<Browser, 'ask'>) => {
      const ask = async () => {
        const { text, cache } = await browser.ask('/x', 'GET', { 'x-key': 'k' })
        return [text, cache]
      }
      expect(await ask()).toEqual(['run 1', 'MISS'])
      for (const turn of [1, 2]) {
        await later(app)
        expect(await ask()).toEqual([`run ${turn}`, 'HIT'])
        await app.redis.cache.settled()
        expect(await ask()).toEqual([`run ${turn + 1}`, 'MISS'])
        await app.redis.cache.settled()
        expect(await ask()).toEqual([`run ${turn + 1}`, 'HIT'])
      }
    }

    test.each([401, 403, 404, 503])('is made by the next request: a guard that answers %s', async (status) => {
      const app = await open(
        page({ guard: (call) => (call.header('x-key') === 'k' ? undefined : { status, text: 'no' }) }),
      )
      await refused(app, new Browser(app))
    })

    test.runIf(host.traits.sessions)('is made by the next request: a guard of a session', async () => {
      const cache = { ttl: 10, staleWhileRevalidate: 3600, shared: true } as const
      const signIn: Route = {
        ...{ method: 'POST', path: '/login' },
        handler(call) {
          dataOf(call)['userId'] = 'ann'
          return 'in'
        },
      }
      const app = await start([page({ cache, session: {} }), signIn], { sessions: {}, redis: { now: () => now } })
      const browser = new Browser(app)
      await browser.ask('/login', 'POST')
      await refused(app, browser)
    })
  })

  test.runIf(host.traits.refreshes && host.traits.sessions)(
    'a background refresh begins no session, which no browser would have, though what stands before the cache writes one',
    async () => {
      const app = await start(
        [
          page({
            guard(call) {
              const data = dataOf(call)
              data['visits'] = Number(data['visits'] ?? 0) + 1
              return undefined
            },
          }),
        ],
        { sessions: {}, redis: { now: () => now } },
      )
      const browser = new Browser(app)
      const ask = async () => (await browser.ask('/x')).text
      expect(await ask()).toBe('run 1')
      await later(app)
      expect(await ask()).toBe('run 1')
      await app.redis.cache.settled()
      expect(await ask()).toBe('run 2')
      expect(app.redis.cache.stats().sessions['commit']).toEqual({ create: 1, write: 2 })
    },
  )
}
