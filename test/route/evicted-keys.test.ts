import { beforeEach, expect, test } from 'vitest'
import { routesOf } from '../../src/adapters/declarations.js'
import type { CacheOptions } from '../../src/route/options.js'
import { Application, type Asked } from './application.js'

// Frameworks that know their routes at the start refuse it: test/adapters/contract/mistakes.ts.

let app: Application

const told = (): readonly string[] => app.warnings.filter((line) => line.includes('matches no entry'))

const declare = (options: Partial<CacheOptions<Asked>> = {}): void =>
  routesOf(app.redis).expect<Asked>({ where: 'cache', options: { ttl: '5m', ...options } }, {})

const gone = (): object => ({ body: 'gone' })

beforeEach(() => {
  app = new Application({ url: 'memory:' })
})

test('a prefix that no cached route has is told, once', async () => {
  declare()
  const evict = app.evict({ key: 'path', prefix: 'shop' }, gone)
  await evict()
  await evict()
  expect(told()).toEqual([expect.stringMatching(/cacheEvict.*key: 'path' .*with the prefix 'shop'.*has none/)])
})

test('a missing prefix is told, naming the one that is there', () => {
  declare({ prefix: 'shop' })
  app.evict({ key: 'path' }, gone)
  expect(told()).toEqual([expect.stringMatching(/without a `prefix`: another cached route has 'shop'/)])
})

test('parts are told where no route has a key function, the path where all have', () => {
  declare()
  app.evict({ key: ['products', 1] }, gone)
  expect(told()).toEqual([expect.stringMatching(/\["products",1\].*no cached route has a `key` function/)])
  app = new Application({ url: 'memory:' })
  declare({ key: () => ['products', 1] })
  app.evict({ key: 'path' }, gone)
  expect(told()).toEqual([expect.stringMatching(/every cached route has a `key` function/)])
})

test('nothing is told of functions, of keys that a route may have, and where nothing is cached', () => {
  app.evict({ key: 'path' }, gone)
  declare()
  app.evict({ key: 'path' }, gone)
  app.evict({ key: () => ['products', 1] }, gone)
  declare({ key: () => ['products', 1], prefix: 'shop' })
  app.evict({ key: ['products', 2], prefix: 'shop' }, gone)
  expect(told()).toEqual([])
})
