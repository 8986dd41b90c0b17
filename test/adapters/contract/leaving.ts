import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { signal } from '../../support/controlled-store.js'
import type { Ask, Client } from '../client.js'
import type { Bed } from '../contract.js'
import type { Route } from '../host.js'

/** Runs what opens connections. Returns its result, and how their clients leave: that resolves when the server knows. */
export async function connected<T>(
  open: () => Promise<T>,
): Promise<{ readonly opened: T; left(leave: () => void): Promise<void> }> {
  const sockets: Socket[] = []
  const add = (message: unknown): void => void sockets.push((message as { readonly socket: Socket }).socket)
  subscribe('net.server.socket', add)
  const opened = await open()
  unsubscribe('net.server.socket', add)
  return {
    opened,
    async left(leave) {
      const closed = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)))
      leave()
      await Promise.all(closed)
      await nextTurn()
    },
  }
}

/** Sends a request and waits for `began`. Returns how its client leaves; that resolves when the server knows. */
async function sent(client: Client, path: string, ask: Ask, began: Promise<void>): Promise<() => Promise<void>> {
  const { opened, left } = await connected(async () => {
    const request = client.send(path, ask)
    request.on('error', () => {})
    await began
    return request
  })
  return () => left(() => opened.destroy())
}

/** A client leaves while the handler of its request runs: the handler goes on, and what it answers counts. */
export function leaving({ host, start, store }: Bed): void {
  test.runIf(store === 'memory')('a handler that never answers holds its key for 3 seconds after that', async () => {
    const began = signal()
    let runs = 0
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        async handler() {
          runs += 1
          began.resolve()
          return runs === 1 ? new Promise<string>(() => {}) : 'second'
        },
      },
    ])
    const leave = await sent(client, '/x', {}, began.promise)
    await leave()
    expect(await client.get('/x')).toMatchObject({ text: 'second', cache: 'BYPASS' })
    expect((await client.get('/x')).cache).toBe('MISS')
    expect((await client.get('/x')).cache).toBe('HIT')
  })

  test.skipIf(host.traits.answersTheGone === false)(
    'those who wait get the answer, and nobody runs the handler again',
    async () => {
      const [began, released] = [signal(), signal()]
      let runs = 0
      const { client, redis } = await start([
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 60 },
          async handler() {
            runs += 1
            const own = runs
            began.resolve()
            await released.promise
            return `run ${own}`
          },
        },
      ])
      const leave = await sent(client, '/x', {}, began.promise)
      const asking = [client.get('/x'), client.get('/x')]
      await expect.poll(() => redis.cache.stats().routes['GET /x']?.waits).toBe(2)
      await leave()
      released.resolve()
      expect((await Promise.all(asking)).map(({ text }) => text)).toEqual(['run 1', 'run 1'])
      expect(await client.get('/x')).toMatchObject({ text: 'run 1', cache: 'HIT' })
    },
  )

  test('its handler counts for `concurrency` until it has answered', async () => {
    const [began, released] = [signal(), signal()]
    const events: string[] = []
    const { client, redis } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60, concurrency: 1 },
        async handler(call) {
          const name = call.header('x-name') ?? ''
          events.push(`${name} begins`)
          if (name === 'gone') {
            began.resolve()
            await released.promise
          }
          events.push(`${name} ends`)
          return { text: name, headers: [['Set-Cookie', 'a=b']] }
        },
      },
    ])
    const named = (name: string): Ask => ({ headers: { 'x-name': name } })
    await client.ask('/x', named('first'))
    const leave = await sent(client, '/x', named('gone'), began.promise)
    const next = client.ask('/x', named('next'))
    await expect.poll(() => redis.cache.stats().routes['GET /x']?.waits).toBe(1)
    await leave()
    events.push('left')
    released.resolve()
    expect((await next).text).toBe('next')
    expect(events.slice(2)).toEqual(['gone begins', 'left', 'gone ends', 'next begins', 'next ends'])
  })

  const evict = { cacheEvict: { group: 'g' } } as const
  const writes: readonly (readonly [string, Pick<Route, 'cacheEvict' | 'cachePut'>, 'MISS' | 'HIT'])[] = [
    ['`cacheEvict` of a group', evict, 'MISS'],
    ['`cachePut`', { cachePut: { ttl: 60 } }, 'HIT'],
    ['`cachePut` and `cacheEvict`', { cachePut: { ttl: 60 }, ...evict }, 'HIT'],
    ['an unsafe method (RFC 9111 4.4)', {}, 'MISS'],
  ]
  describe.each(writes)('a write with %s', (_, options, then) => {
    test('takes effect', async () => {
      const [began, released] = [signal(), signal()]
      let value = 'old'
      const { client } = await start([
        { method: 'GET', path: '/x', cache: { ttl: 60, group: 'g' }, handler: () => ({ json: { value } }) },
        {
          method: 'PUT',
          path: '/x',
          ...options,
          async handler() {
            began.resolve()
            await released.promise
            value = 'new'
            return { json: { value } }
          },
        },
      ])
      await client.get('/x')
      expect(await client.get('/x')).toMatchObject({ text: '{"value":"old"}', cache: 'HIT' })
      const leave = await sent(client, '/x', { method: 'PUT' }, began.promise)
      await leave()
      released.resolve()
      await expect.poll(() => client.get('/x')).toMatchObject({ text: '{"value":"new"}', cache: then })
    })
  })
}
