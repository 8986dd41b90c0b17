import { describe, expect, test } from 'vitest'
import { signal } from '../../support/controlled-store.js'
import type { Bed } from '../contract.js'
import type { Route } from '../host.js'
import { connected } from './leaving.js'

const evict = { cacheEvict: { group: 'g' } } as const
const put = { cachePut: { ttl: 60, group: 'g' } } as const

/** How a write is declared, and how the GET after it is answered if the response came whole. */
const WRITES: readonly (readonly [string, Pick<Route, 'cacheEvict' | 'cachePut'>, 'MISS' | 'HIT'])[] = [
  ['an unsafe method', {}, 'MISS'],
  ['`cacheEvict`', evict, 'MISS'],
  ['`cacheEvict` by a function of the result', { cacheEvict: { group: () => 'g' } }, 'MISS'],
  ['`cachePut`', put, 'HIT'],
  ['`cachePut` and `cacheEvict`', { ...put, ...evict }, 'HIT'],
]

/** The change of a write comes after the answer of its handler: with a later piece, or with a transaction around it. */
export function endings({ host, start }: Bed): void {
  describe.each(WRITES)('a write with %s', (_, options, whenWhole) => {
    test('whose response is a stream is not followed by what was read before its last piece', async () => {
      const read = signal()
      let value = 'old'
      async function* pieces() {
        yield 'begins '
        await read.promise
        value = 'new'
        yield 'and ends'
      }
      const { client, redis } = await start([
        { method: 'GET', path: '/x', cache: { ttl: 60, group: 'g' }, handler: () => value },
        { method: 'PUT', path: '/x', ...options, handler: () => ({ stream: pieces() }) },
      ])
      await client.get('/x')
      expect((await client.get('/x')).cache).toBe('HIT')
      const write = await client.open('/x', {}, 'PUT')
      expect(await write.next()).toBe('begins ')
      expect(await client.get('/x')).toMatchObject({ text: 'old', cache: 'MISS' })
      await redis.cache.settled()
      expect(await client.get('/x')).toMatchObject({ text: 'old', cache: 'HIT' })
      read.resolve()
      expect([await write.next(), await write.next()]).toEqual(['and ends', undefined])
      expect(await client.get('/x')).toMatchObject({ text: 'new', cache: 'MISS' })
      await redis.cache.settled()
      expect(await client.get('/x')).toMatchObject({ text: 'new', cache: 'HIT' })
    })

    test('that is committed by a middleware is not followed by what was read before', async () => {
      const [ready, read] = [signal(), signal()]
      let [value, pending] = ['old', 'old']
      const { client, redis } = await start(
        [
          { method: 'GET', path: '/x', cache: { ttl: 60, group: 'g' }, handler: () => value },
          { method: 'GET', path: '/list', cache: { ttl: 60, group: 'g' }, handler: () => value },
          { method: 'PUT', path: '/x', ...options, handler: () => (pending = 'new') },
        ],
        {
          async commit({ method }) {
            if (method === 'GET') return undefined
            ready.resolve()
            await read.promise
            value = pending
            return undefined
          },
        },
      )
      await client.get('/x')
      await client.get('/list')
      const writing = client.ask('/x', { method: 'PUT' })
      await ready.promise
      for (const path of ['/x', '/list']) await client.get(path)
      await redis.cache.settled()
      read.resolve()
      expect((await writing).text).toBe('new')
      expect(await client.get('/x')).toMatchObject({ text: 'new', cache: whenWhole })
      // Without `cacheEvict` the list is as it was read before the commit.
      expect((await client.get('/list')).cache).toBe('cacheEvict' in options ? 'MISS' : 'HIT')
    })

    test('that is rolled back by a middleware leaves nothing', async () => {
      const { client, redis } = await start(
        [
          { method: 'GET', path: '/x', cache: { ttl: 60, group: 'g' }, handler: () => 'old' },
          { method: 'PUT', path: '/x', ...options, handler: () => 'new' },
        ],
        { commit: async ({ method }) => (method === 'GET' ? undefined : { status: 409, text: 'conflict' }) },
      )
      await client.get('/x')
      expect(await client.ask('/x', { method: 'PUT' })).toMatchObject({ status: 409, text: 'conflict' })
      await redis.cache.settled()
      expect((await client.get('/x')).text).toBe('old')
    })

    test.runIf(host.traits.tellsSources)(
      'whose client leaves in the middle of its stream ends what is read before its own end',
      async () => {
        const read = signal()
        let value = 'old'
        async function* pieces() {
          yield 'begins '
          await read.promise
          value = 'new'
          yield 'and ends'
        }
        const { client, redis } = await start([
          { method: 'GET', path: '/x', cache: { ttl: 60, group: 'g' }, handler: () => value },
          { method: 'PUT', path: '/x', ...options, handler: () => ({ stream: pieces() }) },
        ])
        const { opened, left } = await connected(() => client.open('/x', {}, 'PUT'))
        expect(await opened.next()).toBe('begins ')
        await client.get('/x')
        await redis.cache.settled()
        await left(() => opened.abort())
        await client.get('/x')
        await redis.cache.settled()
        expect(await client.get('/x')).toMatchObject({ text: 'old', cache: 'HIT' })
        read.resolve()
        await expect.poll(() => client.get('/x')).toMatchObject({ text: 'new' })
      },
    )
  })
}
