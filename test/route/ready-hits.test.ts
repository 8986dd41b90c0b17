import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { CacheOptions } from '../../src/route/options.js'
import type { CachedRoute } from '../../src/route/cached-route.js'
import type { RequestContext } from '../../src/route/request.js'
import { Application, type Asked, present } from './application.js'

const MEMORY = { url: 'memory:' }

describe('hits that nothing of the request decides but its URL', () => {
  let app: Application
  let route: CachedRoute<Asked>
  let groups: readonly string[]

  const ask = async (more: Partial<RequestContext<Asked>> = {}, target = '/items/1') =>
    route.lookup(present({ method: 'GET', target, headers: {} }, { onlyCondition: '', ...more }))

  const fill = async (): Promise<void> => {
    const lookup = await ask()
    if (lookup.outcome !== 'miss') throw new Error(`filled already: ${lookup.reason}`)
    await lookup.run.finish({ status: 200, headers: ['ETag', '"1"'] }, Buffer.from('body'))
    await ask()
  }

  const declare = async (options: Partial<CacheOptions<Asked>>): Promise<void> => {
    route = app.route({ ttl: '5m', ...options }, '/items/:id')
    await fill()
  }

  /** Lookups in the store that this request takes. */
  const lookups = async (more?: Partial<RequestContext<Asked>>): Promise<number> => {
    const spy = vi.spyOn(app.redis.scope, 'lookup')
    await ask(more)
    const { length } = spy.mock.calls
    spy.mockRestore()
    return length
  }

  beforeEach(() => {
    app = new Application(MEMORY)
    groups = ['items']
  })

  test('the second hit is looked up no more, and counts as one', async () => {
    await declare({ group: 'items' })
    expect(await lookups()).toBe(0)
    expect(app.redis.cache.stats().routes['GET /items/:id']?.hits).toBe(2)
  })

  test('its lifetime counts down, and its end is one', async () => {
    await declare({})
    app.now += 10_000
    const hit = await ask()
    expect(hit.outcome === 'hit' && hit.response.headers).toContain('max-age=290')
    app.now += 290_000
    expect((await ask()).outcome).toBe('miss')
  })

  test('a client that has it is told so', async () => {
    await declare({})
    const hit = await ask({ onlyCondition: '"1"' })
    expect(hit.outcome === 'hit' && hit.response.status).toBe(304)
    expect(await lookups({ onlyCondition: '"1"' })).toBe(0)
    const other = await ask({ onlyCondition: '"2"' })
    expect(other.outcome === 'hit' && other.response.status).toBe(200)
  })

  test.each([
    ['its group', () => app.redis.cache.deleteGroup('items')],
    ['its path', () => app.redis.cache.deletePath('/items/1')],
    ['everything', () => app.redis.cache.clear()],
  ])('the next request after the eviction of %s runs the handler', async (_, evict) => {
    await declare({ group: 'items' })
    expect(await lookups()).toBe(0)
    await evict()
    expect((await ask()).outcome).toBe('miss')
  })

  test('a function that names the groups is asked each time', async () => {
    await declare({ group: () => groups })
    expect(await lookups()).toBe(0)
    groups = ['items', 'new']
    expect((await ask()).outcome).toBe('miss')
  })

  test('a function that names the groups later is asked once for each request, and its failure is that of its request', async () => {
    const group = vi.fn<() => string | Promise<string>>(() => 'items')
    await declare({ group })
    expect(await lookups()).toBe(0)
    group.mockImplementation(async () => Promise.reject(new Error('who knows')))
    await expect(ask()).rejects.toThrow('who knows')
    group.mockClear().mockImplementation(async () => 'items')
    expect(await lookups()).toBe(1)
    expect(await lookups()).toBe(1)
    expect(group).toHaveBeenCalledTimes(2)
  })

  test('an entry with an empty ETag is sent to a client that has nothing', async () => {
    route = app.route({ ttl: '5m' }, '/items/:id')
    const lookup = await ask()
    if (lookup.outcome === 'miss') await lookup.run.finish({ status: 200, headers: ['ETag', ''] }, Buffer.from('body'))
    await ask()
    const hit = await ask()
    expect(hit.outcome === 'hit' && hit.response.status).toBe(200)
  })

  test('a URL of any length is answered, and a long one is not remembered', async () => {
    route = app.route({ ttl: '5m' }, '/items/:id')
    const target = `/items/1?q=${'x'.repeat(600)}`
    const lookup = await ask({}, target)
    if (lookup.outcome === 'miss') await lookup.run.finish({ status: 200, headers: [] }, Buffer.from('body'))
    const spy = vi.spyOn(app.redis.scope, 'lookup')
    expect((await ask({}, target)).outcome).toBe('hit')
    expect((await ask({}, target)).outcome).toBe('hit')
    expect(spy).toHaveBeenCalledTimes(2)
  })

  test('what the request may decide is looked up', async () => {
    await declare({ group: 'items' })
    expect(await lookups({ onlyCondition: undefined })).toBe(1)
    expect(await lookups({ principal: () => undefined })).toBe(1)
    expect(await lookups({ routed: [[':version', '2']] })).toBe(1)
  })

  test('hosts are told apart where the route says so', async () => {
    await declare({ host: true })
    expect(await lookups()).toBe(0)
    expect((await ask({ header: (name) => (name === 'host' ? 'other.example' : undefined) })).outcome).toBe('miss')
  })

  test('nothing is served while an invalidation is not confirmed', async () => {
    await declare({})
    vi.spyOn(app.redis.scope, 'recall').mockReturnValue(undefined)
    expect(await lookups()).toBe(1)
  })
})
