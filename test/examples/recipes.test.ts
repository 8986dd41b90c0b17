import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CacheBackend } from 'redwell'
import { describe, expect, test, vi } from 'vitest'
import * as recipes from '../../examples/recipes/recipes.js'
import { backends } from '../data/support.js'

const ROOT = join(import.meta.dirname, '../..')
const lamp: recipes.Product = { id: 1, name: 'Lamp', price: 20, stock: 9, category: 'light' }

/** A database of one lamp (and whatever a test changes of it) that counts its calls. */
function database(changes: Partial<recipes.Product> = {}) {
  const product = { ...lamp, ...changes }
  return {
    product: vi.fn<recipes.Database['product']>(async (id) => (id === 1 ? product : undefined)),
    products: vi.fn<recipes.Database['products']>(
      async (ids) => new Map(ids.filter((id) => id < 10).map((id) => [id, { ...lamp, id }])),
    ),
    orders: vi.fn<recipes.Database['orders']>(async () => [
      { productId: 1, amount: 2 },
      { productId: 1, amount: 3 },
    ]),
    updatePrice: vi.fn<recipes.Database['updatePrice']>(async (_, price) => ({ ...product, price })),
  }
}

describe.each(['memory', 'redis'])('recipes on %s', (where) => {
  const { clock, make: open } = backends(where)
  // The same class, which the recipes know from the built package.
  const make = async () => (await open()) as unknown as { cache: CacheBackend }

  test('conditional caching', async () => {
    const { cache } = await make()
    const [plenty, few] = [database(), database({ stock: 2 })]
    for (const db of [few, few]) await recipes.conditional(cache, db, 1)
    await cache.delete(['product', 1])
    for (const db of [plenty, plenty, plenty]) await recipes.conditional(cache, db, 1)
    expect([few.product.mock.calls.length, plenty.product.mock.calls.length]).toEqual([2, 1])
  })

  test('intermediate results', async () => {
    const { cache } = await make()
    const db = database()
    expect(await recipes.intermediate(cache, db, 2026, 1)).toBe(5)
    expect(await recipes.intermediate(cache, db, 2026, 2)).toBe(0)
    expect(db.orders).toHaveBeenCalledTimes(1)
  })

  test('cascade over groups', async () => {
    const { cache } = await make()
    await recipes.cascade(cache)
    expect(await cache.getMany([['product', 1], 'menu', 'front page'])).toEqual([undefined, undefined, undefined])
  })

  test('TTL from data', async () => {
    const { cache } = await make()
    await recipes.ttlFromData(cache, async () => ({ value: 'x', expiresInSeconds: 90 }))
    expect(await cache.ttl('api token')).toBe(60)
  })

  test('read, modify, write', async () => {
    const { cache } = await make()
    await recipes.readModifyWrite(cache, database(), 1, 25)
    expect(await cache.get(['product', 1])).toMatchObject({ price: 25 })
    const failing = { ...database(), updatePrice: () => Promise.reject(new Error('conflict')) }
    await expect(recipes.readModifyWrite(cache, failing, 1, 30)).rejects.toThrow('conflict')
    expect(await cache.get(['product', 1])).toMatchObject({ price: 25 })
    const overtaken = { ...database(), updatePrice: async () => (await cache.delete(['product', 1]), lamp) }
    await recipes.readModifyWrite(cache, overtaken, 1, 30)
    expect(await cache.getOrSet(['product', 1], () => 'from the database')).toBe('from the database')
  })

  test('existence check', async () => {
    const { cache } = await make()
    const handle = vi.fn<() => Promise<void>>(async () => {})
    expect(await recipes.exists(cache, 'a', handle)).toBe(true)
    expect(await recipes.exists(cache, 'a', handle)).toBe(false)
    expect(handle).toHaveBeenCalledTimes(1)
  })

  test('defaults', async () => {
    const { cache } = await make()
    expect(await recipes.defaults(cache, 1)).toBe('light')
    await cache.set(['theme', 1], 'dark')
    expect(await recipes.defaults(cache, 1)).toBe('dark')
  })

  test('use outside HTTP', async () => {
    const url = where === 'memory' ? 'memory:' : (process.env['REDWELL_TEST_REDIS_URL'] as string)
    expect(await recipes.outsideHttp(url, database(), [1, 2, 99])).toBe(2)
  })

  test('negative results', async () => {
    const { cache } = await make()
    const db = database()
    for (let turn = 0; turn < 3; turn += 1) expect(await recipes.negative(cache, db, 7)).toBeUndefined()
    expect(db.product).toHaveBeenCalledTimes(1)
    clock.advance(30_000)
    await recipes.negative(cache, db, 7)
    expect(db.product).toHaveBeenCalledTimes(2)
  })

  test('many at once', async () => {
    const { cache } = await make()
    const db = database()
    expect((await recipes.batch(cache, db, [1, 99])).map((product) => product?.id)).toEqual([1, undefined])
    expect((await recipes.batch(cache, db, [2, 1, 99])).map((product) => product?.id)).toEqual([2, 1, undefined])
    expect(db.products.mock.calls.map(([ids]) => ids)).toEqual([[1, 99], [2]])
  })

  test('revalidation of an upstream', async () => {
    const { cache } = await make()
    const rates = cache.namespace<string, recipes.Rates>('rates')
    const asked: unknown[] = []
    const ask = async (etag: string | undefined) => {
      asked.push(etag)
      return etag === undefined ? { etag: 'a', rates: { USD: 1.1 } } : ('not modified' as const)
    }
    const first = await recipes.revalidate(rates, ask)
    clock.advance(120_000)
    expect(await recipes.revalidate(rates, ask)).toEqual(first)
    expect(await rates.ttl('EUR')).toBe(60)
    clock.advance(120_000)
    expect(await recipes.revalidate(rates, () => Promise.reject(new Error('down')))).toEqual(first)
    expect(asked).toEqual([undefined, 'a'])
  })

  test('once per request', async () => {
    const { cache } = await make()
    const db = database()
    const request = {}
    const [one, two] = await Promise.all([1, 1].map((id) => recipes.perRequest(cache, db, request, id)))
    expect(one).toBe(two)
  })
})

test('what the documents quote is what runs here', () => {
  const sources = ['examples/recipes/recipes.ts'].map((file) => readFileSync(join(ROOT, file), 'utf8')).join('\n')
  const text = readFileSync(join(ROOT, 'docs/recipes.md'), 'utf8')
  const blocks = [...text.matchAll(/```ts\n(.*?)```/gs)].map(([, block]) => block as string)
  const functions = Object.values(recipes).filter((value) => typeof value === 'function')
  expect(blocks.length).toBe(functions.length)
  for (const block of blocks) expect(sources).toContain(block)
  expect(readdirSync(join(ROOT, 'docs'))).toContain('migration.md')
})
