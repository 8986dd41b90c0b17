import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { signal } from '../../support/controlled-store.js'
import type { Bed } from '../contract.js'
import type { Answer, Route } from '../host.js'

/** A handler that counts how many of its runs are under way at once. The first stands still until it is released. */
class Crowd {
  most = 0
  #runs = 0
  #running = 0
  readonly #first = signal()

  constructor(readonly answer: () => Answer) {}

  readonly release = this.#first.resolve

  readonly handler: Route['handler'] = async () => {
    this.#runs += 1
    if (this.#runs === 1) await this.#first.promise
    else {
      this.#running += 1
      this.most = Math.max(this.most, this.#running)
      // All that may run beside this one begin meanwhile.
      await sleep(20)
      this.#running -= 1
    }
    return this.answer()
  }
}

/** How long requests of one key wait for each other, and how many run beside each other. */
export function waiting({ start, after }: Bed): void {
  const COUNT = 7

  describe.each([
    [
      'after a failure',
      () => {
        throw new Error('the origin is down')
      },
      500,
    ],
    ['for a response that may not be stored', () => ({ text: 'own', headers: [['Set-Cookie', 'a=b'] as const] }), 200],
  ] as const)('%s requests run the handler', (_, answer, status) => {
    test.each([
      ['more than two at once', undefined, 3],
      ['two at a time with `concurrency: 2`', 2, 2],
    ] as const)('%s', async (_name, concurrency, most) => {
      const crowd = new Crowd(answer)
      const { handler } = crowd
      const { client, redis } = await start([{ method: 'GET', path: '/x', cache: { ttl: 60, concurrency }, handler }])
      const asking = Array.from({ length: COUNT }, () => client.get('/x'))
      const waits = () => Object.values(redis.cache.stats().routes).reduce((sum, route) => sum + route.waits, 0)
      await expect.poll(waits).toBe(COUNT - 1)
      crowd.release()
      const replies = await Promise.all(asking)
      expect([...new Set(replies.map((reply) => reply.status))]).toEqual([status])
      expect(Math.min(crowd.most, most)).toBe(most)
      expect(crowd.most).toBeLessThanOrEqual(concurrency ?? COUNT)
    })
  })

  test('the turn of a client that went away is over when its handler is', async () => {
    const [began, hanging] = [signal(), signal()]
    let runs = 0
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60, concurrency: 1, wait: '1h' },
        async handler(call) {
          runs += 1
          const own = runs
          if (call.header('x-hang') === '1') {
            began.resolve()
            await hanging.promise
          }
          return { text: `run ${own}`, headers: [['Set-Cookie', 'a=b']] }
        },
      },
    ])
    await client.get('/x')
    const gone = client.send('/x', { headers: { 'x-hang': '1' } })
    gone.on('error', () => {})
    await began.promise
    const next = client.get('/x')
    gone.destroy()
    hanging.resolve()
    expect((await next).text).toBe('run 3')
  })

  test('a handler that hangs holds its key for its `lease` and no longer', async () => {
    const [began, hanging] = [signal(), signal()]
    let runs = 0
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60, wait: '1h', lease: '100ms' },
        async handler() {
          runs += 1
          const own = runs
          if (own === 1) {
            began.resolve()
            await hanging.promise
          }
          return `run ${own}`
        },
      },
    ])
    const first = client.get('/x')
    after(() => hanging.resolve())
    await began.promise
    expect(await client.get('/x')).toMatchObject({ text: 'run 2', cache: 'BYPASS' })
    expect(await client.get('/x')).toMatchObject({ text: 'run 3', cache: 'MISS' })
    expect(await client.get('/x')).toMatchObject({ text: 'run 3', cache: 'HIT' })
    hanging.resolve()
    expect((await first).text).toBe('run 1')
    expect(await client.get('/x')).toMatchObject({ text: 'run 3', cache: 'HIT' })
  })
}
