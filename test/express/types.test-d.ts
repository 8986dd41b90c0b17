import express, { type Request } from 'express'
import { expectTypeOf, test } from 'vitest'
import { cache, cacheEvict, cacheGroups, cachePut, redwell } from '../../src/adapters/express/index.js'
import type { CacheBackend, Redis } from '../../src/index.js'

const app = express()

test('parameters of the path are inferred as if the middleware were not there', () => {
  app.use(redwell({ url: 'memory:' }))
  app.get('/shops/:shop/products/:id', cache({ ttl: '5m' }), (req, res) => {
    expectTypeOf(req.params).toEqualTypeOf<{ shop: string } & { id: string }>()
    cacheGroups(res, `shop:${req.params.shop}`)
    res.json({})
  })
  app.put('/products/:id', cachePut({ ttl: '5m' }), cacheEvict({ group: 'lists' }), (req, res) => {
    expectTypeOf(req.params.id).toEqualTypeOf<string>()
    res.json({})
  })
  app
    .route('/products/:id')
    .get(cache({ ttl: 60 }), (req, res) => {
      expectTypeOf(req.params.id).toEqualTypeOf<string>()
      res.json({})
    })
    .delete(cacheEvict({ key: 'path' }), (_req, res) => void res.end())
})

test('generic handlers keep their types', () => {
  app.get<{ id: string }, { name: string }>('/x/:id', cache({ ttl: 60 }), (req, res) => {
    expectTypeOf(req.params).toEqualTypeOf<{ id: string }>()
    res.json({ name: req.params.id })
  })
})

test('functions of the options are given the request of Express', () => {
  cache({ ttl: 60, key: (req) => [req.path, req.hostname], per: (req) => req.get('x-user') })
  cache<{ id: string }>({ ttl: 60, group: ({ params }) => `product:${params.id}` })
  cacheEvict<{ id: string }>({
    group: (req, result) => {
      expectTypeOf(req).toEqualTypeOf<Request<{ id: string }>>()
      expectTypeOf(result.status).toEqualTypeOf<number>()
      return `product:${req.params.id}`
    },
  })
})

test('res.locals has the Redis and the cache', () => {
  app.get('/x', (_req, res) => {
    expectTypeOf(res.locals.redis).toEqualTypeOf<Redis>()
    expectTypeOf(res.locals.cache).toEqualTypeOf<CacheBackend>()
  })
})

test('impossible options do not compile', () => {
  // @ts-expect-error a duration without meaning
  cache({ ttl: '5 minutes' })
  // @ts-expect-error private without per
  cache({ ttl: 60, private: true })
  // @ts-expect-error nothing to evict
  cacheEvict({})
  // @ts-expect-error no such option
  cachePut({ tll: 60 })
})

test('vary: fields, cookies and functions of the request of Express', () => {
  cache({ ttl: 60, vary: ['accept-language', 'x-tenant'] })
  cache({ ttl: 60, vary: { 'accept-language': 'language', cookie: 'lang', tenant: (req) => req.get('x-tenant') } })
  cache({ ttl: 60, vary: { kind: { value: (req) => req.hostname.length, from: [] } } })
  // @ts-expect-error a rule that does not exist
  cache({ ttl: 60, vary: { 'accept-language': 'langauge' } })
  // @ts-expect-error an object is no value
  cache({ ttl: 60, vary: { tenant: () => ({}) } })
  // @ts-expect-error names no fields
  cache({ ttl: 60, vary: { tenant: { value: () => 'a' } } })
})
