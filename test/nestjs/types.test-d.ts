import type { HealthIndicatorResult } from '@nestjs/terminus'
import type { Request } from 'express'
import { expectTypeOf, test } from 'vitest'
import {
  CacheEvict,
  CachePut,
  Cached,
  type HttpRequest,
  type RedwellHealthIndicator,
} from '../../src/adapters/nestjs/index.js'

class Products {
  @Cached({ ttl: '5m', group: ({ params }) => (expectTypeOf(params).toEqualTypeOf<unknown>(), 'products') })
  find(): void {}

  @Cached({ ttl: '5m', per: (request: Request) => request.get('x-user') })
  mine(): void {}

  @CachePut({ ttl: '5m', group: 'products' })
  save(): void {}

  @CacheEvict({ key: 'path', group: (request: HttpRequest, result) => `${request.ip} ${result.status}` })
  remove(): void {}
}

test('decorators stand on methods, and @Cached on a class', () => {
  @Cached({ ttl: 60 })
  class All extends Products {}
  expectTypeOf<All>().toExtend<Products>()
})

test('impossible options do not compile', () => {
  // @ts-expect-error a duration without meaning
  Cached({ ttl: '5 minutes' })
  // @ts-expect-error private without per
  Cached({ ttl: 60, private: true })
  // @ts-expect-error nothing to evict
  CacheEvict({})
})

test('what the health indicator tells is what Terminus takes', () => {
  expectTypeOf<Awaited<ReturnType<RedwellHealthIndicator['check']>>>().toExtend<HealthIndicatorResult>()
})

test('vary: fields, cookies and functions of the request of the platform', () => {
  Cached({ ttl: 60, vary: { cookie: 'lang', tenant: (request: Request) => request.get('x-tenant') } })
  Cached({ ttl: 60, vary: { tenant: ({ headers }) => String(headers['x-tenant']) } })
  // @ts-expect-error an object is no value
  Cached({ ttl: 60, vary: { tenant: () => ({}) } })
})
