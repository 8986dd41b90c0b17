import { Hono } from 'hono'
import { hc } from 'hono/client'
import { validator } from 'hono/validator'
import { describe, expectTypeOf, test } from 'vitest'
import type { CacheBackend } from '../../src/data/backend.js'
import { cache, cacheEvict, cacheGroups, cachePut, redwell } from '../../src/adapters/hono/index.js'
import type { Redis } from '../../src/create-redis.js'

interface Env {
  Variables: { user: { id: string } }
}

describe('middlewares leave the types of a route as they are', () => {
  test('parameters are inferred, and others are errors', () => {
    new Hono().get('/shops/:shop/products/:id', cache({ ttl: '5m', group: 'products' }), (c) => {
      expectTypeOf(c.req.param('shop')).toEqualTypeOf<string>()
      expectTypeOf(c.req.param()).toEqualTypeOf<{ shop: string; id: string }>()
      return c.text(c.req.param('id'))
    })
  })

  test('variables and validated input are kept', () => {
    new Hono<Env>().put(
      '/products/:id',
      cachePut({ ttl: '5m', group: 'products' }),
      validator('json', (value: { name: string }) => value),
      cacheEvict({ group: 'lists' }),
      (c) => {
        expectTypeOf(c.var.user).toEqualTypeOf<{ id: string }>()
        expectTypeOf(c.req.valid('json')).toEqualTypeOf<{ name: string }>()
        return c.json({ id: c.req.param('id') })
      },
    )
  })

  test('a client by RPC knows what the handler answers', async () => {
    const app = new Hono().use(redwell({ url: 'memory:' })).get('/products/:id', cache({ ttl: 60 }), (c) => {
      cacheGroups(c, 'late')
      return c.json({ id: c.req.param('id'), price: 1 })
    })
    const client = hc<typeof app>('http://localhost')
    const answer = await client.products[':id'].$get({ param: { id: '1' } })
    expectTypeOf(await answer.json()).toEqualTypeOf<{ id: string; price: number }>()
  })
})

test('c.var has the connection and the cache', () => {
  new Hono().get('/', (c) => {
    expectTypeOf(c.var.redis).toEqualTypeOf<Redis>()
    expectTypeOf(c.var.cache).toEqualTypeOf<CacheBackend>()
    return c.text('')
  })
})

describe('options', () => {
  test('functions are given the context', () => {
    cache({ ttl: 60, key: (c) => ['product', c.req.param('id') ?? ''], group: (c) => c.req.path })
    cache({ ttl: 60, private: true, per: (c) => c.req.header('authorization') })
    cacheEvict({ group: (c, result) => `${c.req.path}:${result.status}` })
  })

  test('app.fetch of an application with bindings of its own fits', () => {
    redwell({ fetch: new Hono<{ Bindings: { SECRET: string } }>().fetch })
  })

  test('what cannot be meant does not compile', () => {
    // @ts-expect-error a duration without a unit we know
    cache({ ttl: '5 minutes' })
    // @ts-expect-error private without per
    cache({ ttl: 60, private: true })
    // @ts-expect-error nothing to evict
    cacheEvict({})
    // @ts-expect-error no such option
    cachePut({ ttl: 60, tll: 60 })
  })
})

test('vary: fields, cookies and functions of the context', () => {
  cache({ ttl: 60, vary: { 'accept-language': 'language', cookie: ['lang'], tenant: (c) => c.req.header('x-tenant') } })
  // @ts-expect-error an object is no value
  cache({ ttl: 60, vary: { tenant: () => ({}) } })
})
