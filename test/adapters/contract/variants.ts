import { expect, test } from 'vitest'
import { recordingLogger } from '../../support/logger.js'
import type { Bed } from '../contract.js'
import type { Call, Route } from '../host.js'

/** Pages that count their runs, and what changes them. */
function pages(vary: NonNullable<Route['cache']>['vary'], more: Route['cache'] = {}): readonly Route[] {
  let runs = 0
  const entry = { ...more, ttl: 60, ...(vary !== undefined && { vary }) }
  const page = (): string => `run ${++runs}`
  return [
    { method: 'GET', path: '/page', cache: entry, handler: page },
    { method: 'PUT', path: '/page', cachePut: entry, handler: page },
    { method: 'DELETE', path: '/page', cacheEvict: { key: 'path' }, handler: () => 'gone' },
  ]
}

const tenantOf = (call: Call): string | undefined => call.header('x-tenant')

export function variants({ host, start }: Bed): void {
  test.each<[string, NonNullable<Route['cache']>['vary'], string, (value: string) => Record<string, string>, string]>([
    ['one cookie', { cookie: 'lang' }, 'cookie', (lang) => ({ cookie: `sid=${Math.random()}; lang=${lang}` }), 'a=1'],
    ['a function', { tenant: tenantOf }, '*', (tenant) => ({ 'x-tenant': tenant }), ''],
    [
      'an asynchronous function',
      { tenant: async (call) => (await Promise.resolve(), tenantOf(call)) },
      '*',
      (tenant) => ({ 'x-tenant': tenant }),
      '',
    ],
    [
      'a function that says which fields it reads',
      { kind: { value: (call) => call.header('x-tenant')?.slice(0, 1), from: 'X-Tenant' } },
      'x-tenant',
      (tenant) => ({ 'x-tenant': tenant }),
      '',
    ],
    [
      'several',
      { tenant: { value: tenantOf, from: ['x-tenant'] }, cookie: ['lang'], 'accept-language': 'language' },
      'accept-language, cookie, x-tenant',
      (value) => ({ 'x-tenant': value, cookie: `lang=${value}`, 'accept-language': 'de' }),
      'a=1',
    ],
  ])('%s selects the entry, Vary says so, and what changes the path ends all', async (_, vary, field, of, others) => {
    const { client } = await start(pages(vary))
    const ask = async (value: string | undefined) => {
      const headers = value === undefined ? { cookie: others } : of(value)
      const answer = await client.get('/page', headers)
      const fields = answer.headers['vary']?.toLowerCase().split(', ').toSorted().join(', ')
      expect(fields).toBe(field)
      return `${answer.text} ${answer.cache}`
    }
    expect([await ask('de'), await ask('fr'), await ask(undefined)]).toEqual(['run 1 MISS', 'run 2 MISS', 'run 3 MISS'])
    expect([await ask('de'), await ask('fr'), await ask(undefined)]).toEqual(['run 1 HIT', 'run 2 HIT', 'run 3 HIT'])
    await client.ask('/page', { method: 'DELETE' })
    expect([await ask('de'), await ask('fr')]).toEqual(['run 4 MISS', 'run 5 MISS'])
    await client.ask('/page', { method: 'PUT', headers: of('de') })
    expect([await ask('de'), await ask('fr')]).toEqual(['run 6 HIT', 'run 7 MISS'])
  })

  test('a value that is made of what other caches cannot know: Vary is `*` alone, whoever else varies, also with 304', async () => {
    const routes: Route[] = [
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60, vary: { tenant: tenantOf } },
        handler: () => ({ text: 'x', headers: [['vary', 'Accept']] }),
      },
    ]
    const { client } = await start(routes, { ambient: () => [['vary', 'Origin']] })
    const first = await client.get('/x', { 'x-tenant': 'a' })
    const hit = await client.get('/x', { 'x-tenant': 'a' })
    const { etag = '' } = hit.headers
    const same = await client.get('/x', { 'x-tenant': 'a', 'if-none-match': etag })
    expect([first, hit, same].map(({ status, cache, headers }) => [status, cache, headers['vary']])).toEqual([
      [200, 'MISS', '*'],
      [200, 'HIT', '*'],
      [304, 'HIT', '*'],
    ])
  })

  test('what a function of `vary` returns by mistake bypasses the cache and is told once', async () => {
    const logger = recordingLogger()
    const { client } = await start(pages({ tenant: () => ({}) as unknown as string }), { redis: { logger } })
    for (let round = 0; round < 2; round += 1) expect(await client.get('/page')).toMatchObject({ cache: 'BYPASS' })
    expect(logger.lines.filter((line) => line.includes('GET /page') && line.includes('`vary.tenant`'))).toHaveLength(1)
  })

  test('I5: a handler that reads the whole Cookie field answers for somebody, though one cookie is keyed', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60, vary: { cookie: 'lang' } },
        handler: (call) => `you sent ${call.header('cookie')}`,
      },
    ])
    for (const sid of ['ann', 'bob']) {
      const cookie = `lang=de; sid=${sid}`
      expect(await client.get('/x', { cookie })).toMatchObject({ text: `you sent ${cookie}`, cache: 'BYPASS' })
    }
  })

  test.runIf(host.traits.refreshes)('a refresh carries the cookie that is keyed, and no other', async () => {
    let now = Date.now()
    const seen: (string | undefined)[] = []
    const [get, ...others] = pages({ cookie: 'lang' }, { staleWhileRevalidate: 60 })
    if (get === undefined) throw new Error('no route')
    const guard = (call: Call) => void seen.push(call.header('cookie'))
    const { client, redis } = await start([{ ...get, guard }, ...others], { redis: { now: () => now } })
    const ask = () => client.get('/page', { cookie: 'sid=ann; lang=de' })
    await ask()
    await redis.cache.settled()
    now += 90_000
    expect(await ask()).toMatchObject({ text: 'run 1', cache: 'HIT' })
    await redis.cache.settled()
    expect(await ask()).toMatchObject({ text: 'run 2', cache: 'HIT' })
    expect(seen).toEqual(['sid=ann; lang=de', 'sid=ann; lang=de', 'lang=de', 'sid=ann; lang=de'])
  })
}
