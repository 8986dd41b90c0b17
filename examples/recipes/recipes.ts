// The recipes of docs/recipes.md, which quotes them from here; test/examples/recipes.test.ts runs them.
import { type CacheBackend, createRedis, type Namespace } from 'redwell'

export interface Product {
  id: number
  name: string
  price: number
  stock: number
  category: string
}

export interface Database {
  product(id: number): Promise<Product | undefined>
  products(ids: readonly number[]): Promise<Map<number, Product>>
  orders(year: number): Promise<{ productId: number; amount: number }[]>
  updatePrice(id: number, price: number): Promise<Product>
}

export function conditional(cache: CacheBackend, db: Database, id: number): Promise<Product | undefined> {
  return cache.getOrSet(
    ['product', id],
    async (context) => {
      const product = await db.product(id)
      if (product !== undefined && product.stock < 5) context.noStore() // may sell out at any moment: never stored
      return product
    },
    { ttl: '10m' },
  )
}

export async function intermediate(
  cache: CacheBackend,
  db: Database,
  year: number,
  productId: number,
): Promise<number> {
  const totals = await cache.getOrSet(
    ['totals', year], // the expensive half, shared by all products
    async () => {
      const sums: Record<number, number> = {}
      for (const order of await db.orders(year)) sums[order.productId] = (sums[order.productId] ?? 0) + order.amount
      return sums
    },
    { ttl: '1h', group: 'orders' },
  )
  return totals[productId] ?? 0
}

export async function cascade(cache: CacheBackend): Promise<void> {
  await cache.set(['product', 1], { name: 'Lamp' }, { group: ['products', 'category:light'] })
  await cache.set('menu', ['light', 'wood'], { group: 'categories' })
  await cache.set('front page', '<html>…', { group: ['products', 'categories'] })

  await cache.deleteGroup('categories') // the menu and the front page
  await cache.deleteGroup(['products', 'category:light']) // both names in one call
}

export interface Token {
  value: string
  expiresInSeconds: number
}

export function ttlFromData(cache: CacheBackend, fetchToken: () => Promise<Token>): Promise<Token> {
  return cache.getOrSet('api token', async (context) => {
    const token = await fetchToken()
    context.store({ ttl: Math.max(token.expiresInSeconds - 30, 1) }) // renewed before it expires
    return token
  })
}

export async function readModifyWrite(cache: CacheBackend, db: Database, id: number, price: number): Promise<Product> {
  const stamp = await cache.beginWrite(['product', id])
  const product = await db.updatePrice(id, price) // the change itself happens in the database
  await cache.set(['product', id], product, { ttl: '10m', ifUnchangedSince: stamp })
  return product
}

export async function exists(cache: CacheBackend, webhookId: string, handle: () => Promise<void>): Promise<boolean> {
  if (await cache.has(['webhook', webhookId])) return false
  await handle()
  await cache.set(['webhook', webhookId], true, { ttl: '1d' })
  return true
}

export async function defaults(cache: CacheBackend, userId: number): Promise<string> {
  const theme = await cache.get(['theme', userId], { default: 'light' }) // string: the type follows the default
  return theme
}

export async function outsideHttp(url: string, db: Database, ids: readonly number[]): Promise<number> {
  await using redis = await createRedis({ url }).connect() // a job needs Redis; a server would not wait
  const products = await db.products(ids)
  const stored = await redis.cache.setMany(
    Array.from(products, ([id, product]) => [['product', id], product]),
    { ttl: '1h', group: 'products' },
  )
  return stored.filter((one) => one.stored).length
}

export function negative(cache: CacheBackend, db: Database, id: number): Promise<Product | undefined> {
  return cache.getOrSet(['product', id], () => db.product(id), { ttl: '10m', negativeTtl: '30s' })
}

export async function batch(
  cache: CacheBackend,
  db: Database,
  ids: readonly number[],
): Promise<(Product | undefined)[]> {
  const products = cache.namespace<number, Product | undefined>('products', { ttl: '10m', negativeTtl: '30s' })
  const results = await products.getOrSetMany(ids, async (missing) => {
    const found = await db.products(missing)
    return missing.map((id) => found.get(id))
  })
  return results.map((result) => (result.status === 'fulfilled' ? result.value : undefined))
}

export interface Rates {
  etag: string
  rates: Record<string, number>
}

export function revalidate(
  rates: Namespace<string, Rates>,
  ask: (etag: string | undefined, signal: AbortSignal) => Promise<Rates | 'not modified'>,
): Promise<Rates> {
  return rates.getOrSet(
    'EUR',
    async ({ previous, signal, unchanged }) => {
      const answer = await ask(previous?.value.etag, signal)
      return answer === 'not modified' ? unchanged() : answer
    },
    { ttl: '1m', staleIfError: '1d', softTimeout: '300ms', timeout: '5s' },
  )
}

export function perRequest(
  cache: CacheBackend,
  db: Database,
  request: object,
  id: number,
): Promise<Product | undefined> {
  return cache.getOrSet(['product', id], () => db.product(id), { ttl: '10m', memo: request })
}
