import { afterEach, expect, test } from 'vitest'
import { UsageError } from '../../src/errors.js'
import { compareTemplates, matchTemplate } from '../../src/route/templates.js'
import { Application } from './application.js'

const open: Application[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ redis }) => redis.close()))
})

function start(): Application {
  const app = new Application({ url: 'memory:', prefix: 'shop' })
  open.push(app)
  return app
}

test('a decision is told with its reasons, and nothing runs for it', async () => {
  const app = start()
  let runs = 0
  const options = { ttl: 60, staleWhileRevalidate: 60, staleIfError: 300, group: 'products' }
  const get = app.get(
    options,
    () => ({ headers: ['ETag', '"a"', 'Vary', 'X-Tone'], body: String(++runs) }),
    '/products/:id',
  )
  const explain = (headers = {}) => app.redis.cache.explain({ url: '/products/7?b=2&a=1', headers })
  expect(await explain()).toMatchObject({ route: 'GET /products/:id', outcome: 'miss', reason: 'absent' })
  await get('/products/7?a=1&b=2', { 'x-tone': 'low' })
  expect(await explain({ 'X-Tone': 'low' })).toMatchObject({
    outcome: 'hit',
    reason: 'fresh',
    key: 'shop:entry:/products/7?a=1&b=2|x-tone=low',
    vary: ['x-tone'],
    entry: { status: 200, ageMs: 0, freshForMs: 60_000, groups: ['products'], bodyBytes: 1, softened: false },
  })
  expect(await explain({ 'x-tone': 'low', 'cache-control': 'no-cache' })).toMatchObject({
    outcome: 'miss',
    reason: 'request-no-cache',
    validates: true,
  })
  app.now += 90_000
  expect(await explain({ 'x-tone': 'low' })).toMatchObject({ outcome: 'stale', reason: 'stale-while-revalidate' })
  expect(await explain({ 'cache-control': 'no-store' })).toMatchObject({
    outcome: 'bypass',
    reason: 'request-no-store',
  })
  expect(runs).toBe(1)
})

test('options that are functions of the request see method, URL, fields, parameters and query, or the request that is given', async () => {
  const app = start()
  app.get(
    { ttl: 60, key: (request) => (request as unknown as { params: { id: string } }).params.id },
    () => ({}),
    '/a/:id',
  )
  expect(await app.redis.cache.explain({ url: '/a/7' })).toMatchObject({ key: 'shop:entry:key:7' })
  const native = { params: { id: 'given' } }
  expect(await app.redis.cache.explain({ url: '/a/7', native })).toMatchObject({ key: 'shop:entry:key:given' })
  expect(await app.redis.cache.explain({ url: '/other', route: 'GET /a/:id', native })).toMatchObject({
    key: 'shop:entry:key:given',
  })
})

test('a request that no cached route answers is an error that names those there are', async () => {
  const app = start()
  await expect(app.redis.cache.explain({ url: '/x' })).rejects.toThrow(UsageError)
  app.get({ ttl: 60 }, () => ({}), '/a/:id')
  await expect(app.redis.cache.explain({ url: '/x' })).rejects.toThrow('Cached routes: GET /a/:id')
})

test.each([
  ['/a/:id', '/a/7', { id: '7' }],
  ['/a/:id', '/a/7%2F8', { id: '7/8' }],
  ['/a/{id}/b', '/a/7/b', { id: '7' }],
  ['/a/:id?', '/a', {}],
  ['/files/*', '/files/a/b', { '*': 'a/b' }],
  ['/a/:id', '/a/', undefined],
  ['/a/:id', '/a/7/b', undefined],
  ['/a', '/b', undefined],
  ['/a/:id(\\d+)', '/a/7', { id: '7' }],
  ['/a/:id(\\d+)', '/a/me', undefined],
  ['/a/:id{[0-9]+}', '/a/me', undefined],
  ['/a/:name.png', '/a/b.png', { name: 'b' }],
  ['/a/:name.png', '/a/b.jpg', undefined],
  ['/at/:hour-:minute', '/at/12-30', { hour: '12', minute: '30' }],
])('the template %s and the path %s', (template, path, params) => {
  expect(matchTemplate(template, path)).toEqual(params)
})

test('templates that say more come first', () => {
  const templates = ['*', '/a/*', '/a/:id', '/a/:id.png', '/a/me', '/a/:id/b']
  const sorted = ['/a/me', '/a/:id.png', '/a/:id', '/a/:id/b', '/a/*', '*']
  expect(templates.toSorted(compareTemplates)).toEqual(sorted)
})
