import { expect } from 'vitest'
import { type Ask, Client, type Reply } from '../adapters/client.js'
import { compare } from '../neighbours/compare.js'

/** How a host of the shop is asked. */
export interface ShopHost {
  /** Starts the shop, with the cache or without. */
  start(withCache: boolean): Promise<{ readonly port: number; close(): Promise<void> }>
  /** Path and fields of a route in a version of the interface. */
  at(version: 1 | 2, path: string): { readonly path: string; readonly headers?: Record<string, string> }
  /** Before the paths of account and cart. Default: nothing. */
  readonly prefix?: string
  /** Fields that differ with the cache, for the reason that docs/compatibility.md gives. */
  readonly changes?: readonly string[]
}

type Step = Ask & { readonly path: string; readonly name: string }

/** One side of the comparison: a shop, and what its visitors remember of it. */
class Side {
  readonly #client: Client
  readonly #credentials = new Map<string, Record<string, string>>()
  readonly #seen = new Map<string, Reply>()
  hits = 0

  constructor(port: number) {
    this.#client = new Client(port)
  }

  async take(
    visitor: string,
    { path, headers, isConditional, ...ask }: Step & { isConditional?: boolean },
  ): Promise<Reply> {
    const page = [visitor, path, JSON.stringify(headers ?? {})].join(' ')
    const seen = isConditional === true ? this.#seen.get(page) : undefined
    const tag = seen?.headers['etag']
    const fields = { ...headers, ...this.#credentials.get(visitor), ...(tag !== undefined && { 'if-none-match': tag }) }
    const reply = await this.#client.ask(path, { ...ask, headers: fields })
    if (reply.cache === 'HIT') this.hits += 1
    if (path.endsWith('/sign-in') && reply.status < 300) this.#credentials.set(visitor, credentialsOf(reply))
    if (path.endsWith('/sign-out')) this.#credentials.delete(visitor)
    // A browser shows what it has.
    if (reply.status === 304 && seen !== undefined) return seen
    if (reply.status === 200 && ask.method === undefined) this.#seen.set(page, reply)
    return reply
  }
}

function credentialsOf({ lines, text }: Reply): Record<string, string> {
  const cookies = lines.filter(([name]) => name === 'set-cookie').map(([, value]) => value.split(';')[0] ?? '')
  if (cookies.length > 0) return { cookie: cookies.join('; ') }
  return { authorization: `Bearer ${(JSON.parse(text) as { token: string }).token}` }
}

/** The same numbers for the same seed: a failure can be repeated. Park and Miller's generator. */
function randomFrom(seed: number): <T>(list: readonly T[]) => T {
  let state = seed
  return (list) => {
    state = (state * 48_271) % 2_147_483_647
    return list[state % list.length] as (typeof list)[number]
  }
}

const VISITORS = ['nobody', 'ada', 'bob'] as const

const PRODUCT = { name: 'Eden', category: 'books', cents: 990 }

/** A step that somebody takes in a shop: mostly reading, sometimes buying, and staff changes products. */
function nextStep(
  pick: <T>(list: readonly T[]) => T,
  { at, prefix = '' }: ShopHost,
): Step & { isConditional?: boolean } {
  const id = pick(['1', '2', '3', '4', '99'])
  const read = (version: 1 | 2, path: string, more: object = {}) => {
    const { path: to, headers } = at(version, path)
    const extra = pick([{}, {}, {}, { 'accept-encoding': 'gzip' }, { origin: 'https://shop.example' }])
    return { path: to, headers: { ...headers, ...extra }, isConditional: pick([false, false, true]), ...more }
  }
  const write = (method: string, path: string, json?: unknown) => {
    const { path: to, headers = {} } = at(1, path)
    return { method, path: to, headers, ...(json !== undefined && { json }) }
  }
  const cents = pick([100, 250, 990])
  const steps = {
    list: () => read(1, '/products'),
    'list of a category': () => read(1, `/products?category=${pick(['books', 'toys'])}&utm_source=mail`),
    'list of an unknown category': () => read(1, '/products?category=cars'),
    product: () => read(1, `/products/${id}`),
    'product, version 2': () => read(2, `/products/${id}`),
    'head of a product': () => read(1, `/products/${id}`, { method: 'HEAD', isConditional: false }),
    'not an id': () => read(1, '/products/kite'),
    'start page': () => ({ ...read(1, '/'), path: '/', headers: {} }),
    cart: () => ({ ...read(1, '/cart'), path: `${prefix}/cart`, headers: {} }),
    'put into the cart': () => ({ method: 'PUT', path: `${prefix}/cart/${id}`, json: { count: pick([1, 2, -1]) } }),
    change: () =>
      write(
        'PUT',
        `/products/${id}`,
        pick([
          { ...PRODUCT, cents },
          { ...PRODUCT, cents: 'many' },
        ]),
      ),
    create: () => write('POST', '/products', { ...PRODUCT, cents }),
    remove: () => write('DELETE', `/products/${pick(['4', '5', '99'])}`),
    'unknown route': () => ({ path: '/nowhere' }),
    preflight: () => ({
      ...at(1, '/products'),
      method: 'OPTIONS',
      headers: { origin: 'https://shop.example', 'access-control-request-method': 'POST' },
    }),
  } satisfies Record<string, () => Omit<Step, 'name'> & { isConditional?: boolean }>
  const reads = ['list', 'list of a category', 'product', 'product, version 2', 'start page', 'cart'] as const
  const name = pick([...reads, ...reads, ...(Object.keys(steps) as (keyof typeof steps)[])])
  return { name, ...steps[name]() }
}

const signIn = ({ prefix = '' }: ShopHost, visitor: string, password = `${visitor}-secret`): Step => ({
  name: `${visitor} signs in`,
  method: 'POST',
  path: `${prefix}/sign-in`,
  json: { name: visitor, password },
})

/**
 * Takes the same steps in the shop with and without the cache, one after another, and compares all responses. At the end
 * too many sign-ins are refused in both.
 */
export async function compareShops(host: ShopHost, steps: number, seed = 1): Promise<void> {
  const [plain, cached] = [await host.start(false), await host.start(true)]
  try {
    const sides = [new Side(plain.port), new Side(cached.port)] as const
    const differs: string[] = []
    const statuses = new Set<number>()
    let taken = 0
    const take = async (visitor: string, step: Step & { isConditional?: boolean }): Promise<number> => {
      const before = await sides[0].take(visitor, step)
      const after = await sides[1].take(visitor, step)
      taken += 1
      statuses.add(after.status)
      const label = `${step.method ?? 'GET'} at step ${taken}, ${visitor}: ${step.name}`
      // Anonymous visitors share the entry of the start page, which is private only without the cache.
      const changes = step.name === 'start page' ? ['cache-control'] : []
      differs.push(...compare(label, before, after, new Set([...changes, ...(host.changes ?? [])])))
      return after.status
    }
    const pick = randomFrom(seed)
    await take('ada', signIn(host, 'ada'))
    await take('bob', signIn(host, 'bob', 'wrong'))
    for (let step = 0; step < steps; step += 1) {
      if (step === Math.trunc(steps / 4)) await take('bob', signIn(host, 'bob'))
      if (step === Math.trunc(steps / 2))
        await take('ada', { name: 'ada signs out', method: 'POST', path: `${host.prefix ?? ''}/sign-out` })
      if (step === Math.trunc((steps * 3) / 4)) await take('ada', signIn(host, 'ada'))
      await take(pick(VISITORS), nextStep(pick, host))
      if (differs.length > 0) break
    }
    let last = 0
    for (let attempt = 0; attempt < 10; attempt += 1) last = await take('nobody', signIn(host, 'eve'))
    expect(differs).toEqual([])
    expect(last).toBe(429)
    expect([...statuses]).toEqual(expect.arrayContaining([200, 201, 204, 400, 401, 403, 404]))
    expect(sides[0].hits).toBe(0)
    expect(sides[1].hits).toBeGreaterThan(steps / 5)
  } finally {
    await plain.close()
    await cached.close()
  }
}
