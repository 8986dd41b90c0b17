import { AsyncLocalStorage } from 'node:async_hooks'
import { expect, test } from 'vitest'
import type { Bed } from '../contract.js'
import type { Line, Route } from '../host.js'

export function stale({ host, start }: Bed): void {
  function refreshing(): { readonly seen: string[]; readonly route: Route } {
    const seen: string[] = []
    const route: Route = {
      method: 'GET',
      path: '/x',
      cache: { ttl: 10, staleWhileRevalidate: 60, vary: 'x-keyed', unkeyedReads: 'ignore' },
      handler: (call) => {
        seen.push([call.header('cookie'), call.header('x-keyed')].join())
        return `run ${seen.length}`
      },
    }
    return { seen, route }
  }

  test.runIf(host.traits.refreshes)(
    'staleWhileRevalidate serves the old entry and refreshes it without the credentials of who asked',
    async () => {
      let now = Date.now()
      const { seen, route } = refreshing()
      const { client } = await start([route], { redis: { now: () => now } })
      const ask = () => client.get('/x', { cookie: 'theme=dark', 'x-keyed': 'k' })
      expect([(await ask()).cache, (await ask()).cache]).toEqual(['MISS', 'HIT'])
      now += 20_000
      expect(await ask()).toMatchObject({ text: 'run 1', cache: 'HIT' })
      await expect.poll(async () => (await ask()).text).toBe('run 2')
      expect(seen).toEqual(['theme=dark,k', ',k'])
    },
  )

  test.runIf(host.traits.refreshes)('a HEAD that finds it stale refreshes it as a GET does', async () => {
    let now = Date.now()
    const { seen, route } = refreshing()
    const { client, redis } = await start([route], { redis: { now: () => now } })
    const headers = { 'x-keyed': 'k' }
    await client.get('/x', headers)
    await redis.cache.settled()
    now += 20_000
    expect(await client.ask('/x', { method: 'HEAD', headers })).toMatchObject({ cache: 'HIT', text: '' })
    await redis.cache.settled()
    expect(seen).toHaveLength(2)
    expect(await client.get('/x', headers)).toMatchObject({ cache: 'HIT', text: 'run 2' })
  })

  test.runIf(host.traits.refreshes)('a refresh is not in the asynchronous context of who asked', async () => {
    let now = Date.now()
    const users = new AsyncLocalStorage<string>()
    const route: Route = {
      method: 'GET',
      path: '/x',
      cache: {
        ttl: 10,
        staleWhileRevalidate: 60,
        unkeyedReads: 'ignore',
        when: (call) => {
          const user = call.header('x-user')
          if (user !== undefined) users.enterWith(user)
          return true
        },
      },
      handler: () => `of ${users.getStore() ?? 'nobody'}`,
    }
    const { client, redis } = await start([route], { redis: { now: () => now } })
    await client.get('/x')
    await redis.cache.settled()
    now += 20_000
    expect(await client.get('/x', { 'x-user': 'ann' })).toMatchObject({ cache: 'HIT' })
    await redis.cache.settled()
    expect(await client.get('/x')).toMatchObject({ cache: 'HIT', text: 'of nobody' })
    // The row would see it.
    expect((await client.get('/x', { 'x-user': 'ann', 'cache-control': 'no-cache' })).text).toBe('of ann')
  })

  test.runIf(!host.traits.refreshes)('staleWhileRevalidate: one request pays for the refresh', async () => {
    let now = Date.now()
    const { client } = await start([refreshing().route], { redis: { now: () => now } })
    const ask = () => client.get('/x', { 'x-keyed': 'k' })
    expect([(await ask()).cache, (await ask()).cache]).toEqual(['MISS', 'HIT'])
    now += 20_000
    expect(await ask()).toMatchObject({ text: 'run 2', cache: 'MISS' })
    expect(await ask()).toMatchObject({ text: 'run 2', cache: 'HIT' })
  })

  test('while somebody refreshes, everybody else is served the old entry at once', async () => {
    let now = Date.now()
    let runs = 0
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const { client, redis } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 10, staleWhileRevalidate: 60 },
          handler: async () => {
            const run = ++runs
            if (run === 2) await held
            return `run ${run}`
          },
        },
      ],
      { redis: { now: () => now } },
    )
    await client.get('/x')
    await redis.cache.settled()
    now += 20_000
    const paying = client.get('/x')
    await expect.poll(() => runs).toBe(2)
    expect(await client.get('/x')).toMatchObject({ text: 'run 1', cache: 'HIT' })
    release()
    await paying
    await expect.poll(async () => (await client.get('/x')).text).toBe('run 2')
    expect(runs).toBe(2)
  })

  test('a personal route is refreshed by one request of its owner', async () => {
    let now = Date.now()
    let runs = 0
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/me',
          cache: { ttl: 10, staleWhileRevalidate: 60, per: (call) => call.header('x-user') },
          handler: (call) => `${call.header('x-user')} ${++runs}`,
        },
      ],
      { redis: { now: () => now } },
    )
    const ask = () => client.get('/me', { 'x-user': 'ann' })
    await ask()
    await expect.poll(async () => (await ask()).cache).toBe('HIT')
    now += 20_000
    expect([(await ask()).text, (await ask()).text, runs]).toEqual(['ann 2', 'ann 2', 2])
  })

  test.each(['throws', 500, 503] as const)(
    'staleIfError answers for a handler that %s until its span ends',
    async (how) => {
      let now = Date.now()
      let fails = false
      const { client, redis } = await start(
        [
          {
            method: 'GET',
            path: '/x',
            cache: { ttl: 10, staleIfError: 60 },
            handler: () => {
              if (!fails) return 'good'
              if (how === 'throws') throw new Error('origin is down')
              return { status: how, text: 'bad' }
            },
          },
        ],
        { redis: { now: () => now } },
      )
      const good = await client.get('/x')
      await redis.cache.settled()
      fails = true
      now += 20_000
      const standIn = await client.get('/x')
      expect([standIn.status, standIn.text, standIn.cache]).toEqual([200, 'good', 'HIT'])
      expect(standIn.headers['content-type']).toBe(good.headers['content-type'])
      now += 60_000
      expect((await client.get('/x')).status).toBe(how === 'throws' ? 500 : how)
    },
  )

  test.each(['throws', 500] as const)('a handler that %s is not stored, and its lease ends with it', async (how) => {
    let runs = 0
    const { client, redis } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: () => {
          runs += 1
          if (runs > 1) return 'good'
          if (how === 'throws') throw new Error('not yet')
          return { status: how, text: 'not yet' }
        },
      },
    ])
    expect((await client.get('/x')).status).toBe(500)
    await expect.poll(() => redis.scope.fills.size).toBe(0)
    expect([(await client.get('/x')).text, (await client.get('/x')).text, runs <= 3]).toEqual(['good', 'good', true])
    await expect.poll(async () => (await client.get('/x')).cache).not.toBe('MISS')
  })

  test('RFC 9111 4.3.1: the handler is asked whether what is stored still holds, and its 304 is enough', async () => {
    let now = Date.now()
    const seen: string[] = []
    const { client, redis } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 10, retain: 60 },
          handler: (call) => {
            seen.push(call.header('if-none-match') ?? 'none')
            const headers = [['etag', '"v1"']] as const
            return call.header('if-none-match') === '"v1"' ? { status: 304, headers } : { headers, text: 'whole' }
          },
        },
      ],
      { redis: { now: () => now } },
    )
    await client.get('/x')
    await redis.cache.settled()
    now += 20_000
    const revalidated = await client.get('/x')
    expect([revalidated.status, revalidated.text, revalidated.headers['etag']]).toEqual([200, 'whole', '"v1"'])
    expect(await client.get('/x')).toMatchObject({ text: 'whole', cache: 'HIT' })
    expect((await client.get('/x', { 'if-none-match': '"v1"' })).status).toBe(304)
    expect(seen).toEqual(['none', '"v1"'])
  })

  test("an error goes to the framework's own handling where nothing stands in", async () => {
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 60 },
          handler: () => {
            throw new Error('teapot')
          },
        },
      ],
      { onError: ({ message }) => ({ status: 418, text: message }) },
    )
    for (let round = 0; round < 2; round += 1)
      expect(await client.get('/x')).toMatchObject({ status: 418, text: 'teapot' })
  })

  /** No other cache may keep as fresh what was invalidated softly. */
  test.each<[string, readonly Line[], string]>([
    ['the route', [], 'max-age=0'],
    ['the handler, by max-age', [['cache-control', 'public, max-age=60']], 'public, max-age=0'],
    ['the handler, by Expires', [['expires', new Date(Date.now() + 60_000).toUTCString()]], 'max-age=0'],
  ])('what was evicted softly is sent as stale: the lifetime is set by %s', async (by, headers, control) => {
    const lifetime = by === 'the route' ? { ttl: 60 } : {}
    let runs = 0
    const { client, redis } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ...lifetime, group: 'g', staleWhileRevalidate: 60, staleIfError: 60 },
        handler: () => {
          runs += 1
          if (runs > 1) throw new Error('the origin is away')
          return { text: 'run 1', headers }
        },
      },
      { method: 'POST', path: '/touch', cacheEvict: { group: 'g', mode: 'soft' }, handler: () => 'ok' },
    ])
    await client.get('/x')
    await redis.cache.settled()
    expect((await client.get('/x')).cache).toBe('HIT')
    await client.ask('/touch', { method: 'POST' })
    const sent = await client.get('/x')
    expect([sent.text, sent.cache, sent.headers['cache-control']]).toEqual(['run 1', 'HIT', control])
    await redis.cache.settled()
    expect(runs).toBe(2)
    const head = await client.ask('/x', { method: 'HEAD' })
    expect([head.status, head.cache, head.headers['cache-control']]).toEqual([200, 'HIT', control])
    // Where the framework has a route of its own for HEAD, that one tries a refresh as well.
    await redis.cache.settled()
    const before = runs
    // The client wants what is fresh for a second; the handler fails, so it is given the same in its place.
    const insisting = await client.get('/x', { 'cache-control': 'min-fresh=1' })
    expect([insisting.text, insisting.headers['cache-control'], runs - before]).toEqual(['run 1', control, 1])
  })
}
