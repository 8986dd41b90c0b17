import { Writable } from 'node:stream'
import type { WriteStream } from 'node:tty'
import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { buildApp, DEMO_ADMIN_TOKEN } from '../../examples/places/app.js'
import type { Database, Place } from '../../examples/places/database.js'
import { openDatabase } from '../../examples/places/storage/open.js'
import { runTour } from '../../examples/places/tour.js'
import { differences, hit } from '../../examples/places/tour/expectation.js'
import { whatToTry } from '../../examples/places/welcome.js'

/** The largest so many places: a few seconds to load, and France, Brazil and China are among their countries. */
const SLICE = 400
const PARIS = 2_988_507
const SAO_PAULO = 3_448_439
/** Starting Postgres takes seconds where others compute at the same time. */
const PATIENCE_MS = 120_000

let db: Database
let app: FastifyInstance
let clock: number

beforeAll(async () => {
  db = await openDatabase({ limit: SLICE })
}, PATIENCE_MS)

afterAll(() => db.close())

beforeEach(async () => {
  clock = Date.now()
  app = await buildApp({ db, redis: { url: 'memory:', now: () => clock } })
})

afterEach(async () => {
  vi.restoreAllMocks()
  await app.close()
})

interface Sent {
  headers?: Record<string, string>
  body?: object
}

async function ask(method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE', url: string, { headers = {}, body }: Sent = {}) {
  const response = await app.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) })
  return {
    status: response.statusCode,
    cache: response.headers['x-redis-cache'],
    headers: response.headers,
    text: response.body,
    json: response.json.bind(response),
  }
}

const get = (url: string, headers: Record<string, string> = {}) => ask('GET', url, { headers })
const as = (token: string) => ({ authorization: `Bearer ${token}` })

async function placeBody(id: number): Promise<Omit<Place, 'id'>> {
  const { id: _, ...body } = (await db.find(id)) as Place
  return body
}

describe('searching', () => {
  test('a search runs once, and comes from the cache after that, byte for byte', async () => {
    const first = await get('/places?q=paris&limit=2')
    const second = await get('/places?limit=2&q=paris&utm_source=mail')
    expect([first.status, first.cache]).toEqual([200, 'MISS'])
    expect([second.status, second.cache, second.text]).toEqual([200, 'HIT', first.text])
  })

  test('who has the list already gets 304', async () => {
    const { headers } = await get('/places?q=paris')
    const again = await get('/places?q=paris', { 'if-none-match': String(headers.etag) })
    expect([again.status, again.cache, again.text]).toEqual([304, 'HIT', ''])
  })

  test('neither case nor accents matter, and wildcards are characters', async () => {
    const names = async (q: string) => {
      const { places } = (await get(`/places?q=${encodeURIComponent(q)}`)).json<{ places: Place[] }>()
      return places.map(({ name }) => name)
    }
    expect(await names('SAO PAULO')).toEqual(['São Paulo'])
    expect(await names('são paulo')).toEqual(['São Paulo'])
    expect(await names('%')).toEqual([])
    expect(await names('_')).toEqual([])
    expect(await names("'; drop table places; --")).toEqual([])
    expect(await db.count()).toBe(SLICE)
  })

  test('all pages of a search share one count', async () => {
    const count = vi.spyOn(db, 'count')
    const pages = await Promise.all([1, 2, 3].map((page) => get(`/places?q=a&limit=5&page=${page}`)))
    const totals = pages.map((page) => page.json<{ total: number }>().total)
    expect(new Set(totals).size).toBe(1)
    expect(new Set(pages.map(({ text }) => text)).size).toBe(3)
    expect(count).toHaveBeenCalledTimes(1)
  })

  test('an old list is served while a new one is made', async () => {
    const search = vi.spyOn(db, 'search')
    const first = await get('/places?q=paris')
    clock += 90_000
    const stale = await get('/places?q=paris')
    expect([stale.cache, stale.text]).toEqual(['HIT', first.text])
    await vi.waitFor(() => expect(search).toHaveBeenCalledTimes(2))
    await vi.waitFor(async () =>
      expect((await get('/places?q=paris')).headers['cache-control']).toMatch(/max-age=[56]\d/),
    )
    expect(search).toHaveBeenCalledTimes(2)
  })
})

describe('writing', () => {
  test('what a PUT answers is what the next GET gets, without running', async () => {
    const body = await placeBody(PARIS)
    await get(`/places/${PARIS}`)
    const put = await ask('PUT', `/places/${PARIS}`, { body: { ...body, population: body.population + 1 } })
    const find = vi.spyOn(db, 'find')
    const read = await get(`/places/${PARIS}`)
    expect([put.status, put.cache]).toEqual([200, 'MISS'])
    expect([read.status, read.cache, read.text]).toEqual([200, 'HIT', put.text])
    expect(read.json()).toMatchObject({ id: PARIS, population: body.population + 1 })
    expect(find).not.toHaveBeenCalled()
    await ask('PUT', `/places/${PARIS}`, { body })
  })

  test('lists and sums of its country end with it, those of others stay', async () => {
    const body = await placeBody(PARIS)
    const urls = ['/places?country=FR', '/countries/FR/stats', '/places?q=paris', '/countries', '/countries/BR/stats']
    for (const url of urls) await get(url)
    await ask('PUT', `/places/${PARIS}`, { body })
    const outcomes = await Promise.all(urls.map(async (url) => (await get(url)).cache))
    expect(outcomes).toEqual(['MISS', 'MISS', 'MISS', 'MISS', 'HIT'])
  })

  test('a place that moves ends the lists of both countries', async () => {
    const body = await placeBody(SAO_PAULO)
    for (const url of ['/countries/BR/stats', '/countries/FR/stats', '/countries/CN/stats']) await get(url)
    await ask('PUT', `/places/${SAO_PAULO}`, { body: { ...body, country: 'FR' } })
    expect((await get('/countries/BR/stats')).cache).toBe('MISS')
    expect((await get('/countries/FR/stats')).cache).toBe('MISS')
    expect((await get('/countries/CN/stats')).cache).toBe('HIT')
    await ask('PUT', `/places/${SAO_PAULO}`, { body })
  })

  test('"there is none" is kept, and ends when there is one', async () => {
    const id = 2_000_000_009
    expect(await get(`/places/${id}`)).toMatchObject({ status: 404, cache: 'MISS' })
    expect(await get(`/places/${id}`)).toMatchObject({ status: 404, cache: 'HIT' })
    const created = await ask('PUT', `/places/${id}`, { body: await placeBody(PARIS) })
    expect([created.status, created.cache]).toEqual([201, 'MISS'])
    expect(await get(`/places/${id}`)).toMatchObject({ status: 200, cache: 'HIT', text: created.text })
    expect((await ask('DELETE', `/places/${id}`)).status).toBe(204)
    expect(await get(`/places/${id}`)).toMatchObject({ status: 404, cache: 'MISS' })
    expect((await ask('DELETE', `/places/${id}`)).status).toBe(404)
  })

  test('another spelling of the same id shows the write, too', async () => {
    const body = await placeBody(PARIS)
    await get(`/places/0${PARIS}`)
    await ask('PUT', `/places/${PARIS}`, { body: { ...body, name: 'Lutetia' } })
    expect((await get(`/places/0${PARIS}`)).json()).toMatchObject({ name: 'Lutetia' })
    await ask('PUT', `/places/${PARIS}`, { body })
  })
})

describe('sums', () => {
  test('a country without places is remembered until it has one', async () => {
    expect(await get('/countries/XX/stats')).toMatchObject({ status: 404, cache: 'MISS' })
    expect(await get('/countries/XX/stats')).toMatchObject({ status: 404, cache: 'HIT' })
    await ask('PUT', '/places/2000000008', { body: { ...(await placeBody(PARIS)), country: 'XX' } })
    expect(await get('/countries/XX/stats')).toMatchObject({ status: 200, cache: 'MISS' })
    await ask('DELETE', '/places/2000000008')
  })

  test('old sums stand in while the database fails, for a day', async () => {
    const first = await get('/countries/FR/stats')
    vi.spyOn(db, 'statistics').mockRejectedValue(new Error('disk on fire'))
    clock += 2 * 3_600_000
    const standIn = await get('/countries/FR/stats')
    expect([standIn.status, standIn.text]).toEqual([200, first.text])
    clock += 24 * 3_600_000
    const failed = await get('/countries/FR/stats')
    expect(failed.status).toBe(500)
    expect(failed.json()).toEqual({
      statusCode: 500,
      error: 'Internal Server Error',
      message: 'Something failed on our side.',
    })
  })
})

describe('favourites', () => {
  afterEach(() => db.removeFavourite('ada', PARIS))

  test('users never share, and a hit does not skip the guard', async () => {
    await ask('PUT', `/me/favourites/${PARIS}`, { headers: as('ada') })
    const ada = await get('/me/favourites', as('ada'))
    expect(await get('/me/favourites', as('ada'))).toMatchObject({ cache: 'HIT', text: ada.text })
    const ben = await get('/me/favourites', as('ben'))
    expect(ben).toMatchObject({ status: 200, cache: 'MISS' })
    expect(ben.json()).toEqual({ user: 'ben', places: [] })
    expect(ada.headers['cache-control']).toContain('private')
    expect(await get('/me/favourites')).toMatchObject({ status: 401, cache: undefined })
  })

  test('a change ends the entry of its user alone', async () => {
    for (const user of ['ada', 'ben']) await get('/me/favourites', as(user))
    expect((await ask('PUT', `/me/favourites/${PARIS}`, { headers: as('ada') })).status).toBe(204)
    const ada = await get('/me/favourites', as('ada'))
    expect(ada.cache).toBe('MISS')
    expect(ada.json<{ places: Place[] }>().places.map(({ id }) => id)).toEqual([PARIS])
    expect((await get('/me/favourites', as('ben'))).cache).toBe('HIT')
    await ask('DELETE', `/me/favourites/${PARIS}`, { headers: as('ada') })
    expect((await get('/me/favourites', as('ada'))).json()).toEqual({ user: 'ada', places: [] })
  })

  test('a place that changes ends every list that names it', async () => {
    const body = await placeBody(PARIS)
    await ask('PUT', `/me/favourites/${PARIS}`, { headers: as('ada') })
    for (const user of ['ada', 'ben']) await get('/me/favourites', as(user))
    await ask('PUT', `/places/${PARIS}`, { body: { ...body, name: 'Lutetia' } })
    expect((await get('/me/favourites', as('ada'))).json()).toMatchObject({ places: [{ name: 'Lutetia' }] })
    expect((await get('/me/favourites', as('ben'))).cache).toBe('HIT')
    await ask('PUT', `/places/${PARIS}`, { body })
  })

  test('a place that is not there cannot be added', async () => {
    expect((await ask('PUT', '/me/favourites/1', { headers: as('ada') })).status).toBe(404)
  })
})

describe('clearing a group', () => {
  test('needs the token', async () => {
    await get(`/places/${PARIS}`)
    expect((await ask('POST', '/admin/clear/places')).status).toBe(401)
    expect((await ask('POST', '/admin/clear/places', { headers: as('ada') })).status).toBe(401)
    expect((await get(`/places/${PARIS}`)).cache).toBe('HIT')
  })

  test('ends its entries and no others', async () => {
    const urls = ['/places?country=FR', `/places/${PARIS}`, '/countries']
    const outcomesAfter = async (group: string) => {
      for (const url of urls) await get(url)
      const { status } = await ask('POST', `/admin/clear/${group}`, { headers: as(DEMO_ADMIN_TOKEN) })
      expect(status).toBe(200)
      return Promise.all(urls.map(async (url) => (await get(url)).cache))
    }
    expect(await outcomesAfter('country:FR')).toEqual(['MISS', 'HIT', 'HIT'])
    expect(await outcomesAfter('world')).toEqual(['HIT', 'HIT', 'MISS'])
    expect(await outcomesAfter(`place:${PARIS}`)).toEqual(['HIT', 'MISS', 'HIT'])
    expect(await outcomesAfter('places')).toEqual(['MISS', 'MISS', 'MISS'])
    expect(await outcomesAfter('nothing')).toEqual(['HIT', 'HIT', 'HIT'])
  })
})

test.each([
  ['GET', '/places?limit=0', undefined, 400],
  ['GET', '/places?country=fr', undefined, 400],
  ['GET', '/places/abc', undefined, 400],
  ['GET', '/places/99999999999', undefined, 400],
  ['PUT', `/places/${PARIS}`, { name: 'Paris' }, 400],
  ['GET', '/countries/france/stats', undefined, 400],
  ['GET', '/countries/XX/stats', undefined, 404],
  ['GET', '/nowhere', undefined, 404],
] as const)('%s %s with %j is a JSON error', async (method, url, body, status) => {
  const answer = await ask(method, url, body === undefined ? {} : { body })
  expect(answer.status).toBe(status)
  expect(answer.json()).toMatchObject({ statusCode: status, error: expect.any(String), message: expect.any(String) })
})

test('health says how many places there are and how Redis does', async () => {
  const { status, json } = await get('/health')
  expect(status).toBe(200)
  expect(json()).toEqual({ status: 'ok', places: SLICE, redis: { status: 'ready', pingMs: 0 } })
})

test('what to try can be copied into a shell, and keeps a token to itself', async () => {
  const example = { ...((await db.find(PARIS)) as Place), name: "L'Haÿ-les-Roses" }
  const text = whatToTry({ origin: 'http://127.0.0.1:3000', cache: 'memory', example, count: 1, adminToken: 's3cret' })
  expect(text).toContain(`-d '{"name":"L'\\''Haÿ-les-Roses"`)
  expect(text).not.toContain('s3cret')
  expect(text).toContain('$ADMIN_TOKEN')
})

describe('the tour', () => {
  const printed: string[] = []
  const out = new Writable({
    decodeStrings: false,
    write(chunk: string, _, done) {
      printed.push(chunk)
      done()
    },
  }) as WriteStream

  beforeEach(() => {
    printed.length = 0
  })

  test('leaves the data as they were', async () => {
    const before = [await db.count(), await db.countries(), await db.favourites('tour-ada')]
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    expect(await runTour({ origin, adminToken: DEMO_ADMIN_TOKEN, out })).toBe(true)
    expect([await db.count(), await db.countries(), await db.favourites('tour-ada')]).toEqual(before)
    expect(printed.join('')).not.toContain(DEMO_ADMIN_TOKEN)
  })

  test('says what is not as expected', async () => {
    vi.spyOn(db, 'favourites').mockResolvedValue([])
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    expect(await runTour({ origin, adminToken: DEMO_ADMIN_TOKEN, out })).toBe(false)
    const text = printed.join('')
    expect(text).toContain('NOT AS EXPECTED')
    expect(text).toMatch(/! body\.places: expected \[\{"id":2000000001,.*\], got \[\]/)
    expect(text).toMatch(/^\d of \d+ steps not as expected\.$/m)
  })

  test('compares representations, fields and members', () => {
    const answer = { status: 200, headers: { 'x-redis-cache': 'HIT', etag: '"a"' }, text: '{"n":1}', ms: 1 }
    expect(differences(answer, hit({ sameAs: answer, json: { n: 1 }, headers: { etag: /a/ } }))).toEqual([])
    const other = { ...answer, headers: { etag: '"b"' }, text: '{}' }
    expect(differences(answer, hit({ status: 304, sameAs: other, empty: true, json: { n: 2 } }))).toEqual([
      'status: expected 304, got 200',
      'etag: expected "\\"b\\"", got "\\"a\\""',
      'body: expected "", got "{\\"n\\":1}"',
      'body.n: expected 2, got 1',
    ])
    expect(differences(answer, hit({ unlike: answer, headers: { etag: /c/ } }))).toHaveLength(2)
  })
})
