import { describe, expect, test } from 'vitest'
import { recordingLogger } from '../../support/logger.js'
import type { Bed } from '../contract.js'
import type { Call, Route } from '../host.js'

/** Ways to the address of the client. */
const WAYS: Readonly<Record<string, (call: Call) => string | undefined>> = {
  'the address of the framework': (call) => call.address('framework'),
  'the address of the connection': (call) => call.address('connection'),
  'X-Forwarded-For': (call) => call.header('x-forwarded-for'),
  Forwarded: (call) => call.header('forwarded'),
  'X-Real-IP': (call) => call.header('x-real-ip'),
}

const FROM = { 'x-forwarded-for': '192.0.2.7', forwarded: 'for=192.0.2.7', 'x-real-ip': '192.0.2.7' }

/** A response that depends on the address of the client is for that client. */
export function addresses({ start, store }: Bed): void {
  // No store makes a difference.
  if (store !== 'memory') return

  describe.each(Object.entries(WAYS))('%s', (_, addressOf) => {
    const page = (cache: Route['cache'], handler: Route['handler']): Route => ({
      method: 'GET',
      path: '/x',
      ...(cache && { cache }),
      handler,
    })

    test('read by a handler, it keeps the response from being stored, which is told once', async () => {
      const logger = recordingLogger()
      const { client } = await start([page({ ttl: 60 }, (call) => `for ${addressOf(call)}`)], { redis: { logger } })
      for (let round = 0; round < 2; round += 1) expect((await client.get('/x', FROM)).cache).toBe('BYPASS')
      expect(logger.lines.filter((line) => /GET \/x.*address of the client/.test(line))).toHaveLength(1)
    })

    test('read late in a stream, or by a write through, as well', async () => {
      const { client } = await start([
        page({ ttl: 60 }, (call) => ({
          stream: (async function* () {
            yield 'for '
            await new Promise((resolve) => setImmediate(resolve))
            yield addressOf(call) ?? 'nobody'
          })(),
        })),
        { method: 'PUT', path: '/x', cachePut: { ttl: 60 }, handler: (call) => `for ${addressOf(call)}` },
      ])
      for (let round = 0; round < 2; round += 1) {
        expect((await client.get('/x', FROM)).cache).not.toBe('HIT')
        await client.ask('/x', { method: 'PUT', headers: FROM })
      }
    })

    test.each<[string, (of: (call: Call) => string | undefined) => Route['cache']]>([
      ['per', (per) => ({ ttl: 60, per })],
      ['vary', (client) => ({ ttl: 60, vary: { client } })],
      ['key', (of) => ({ ttl: 60, key: (call) => ['address', of(call) ?? ''] })],
    ])('where it is part of the key by %s, the response is stored for that address', async (name, cacheOf) => {
      const { client } = await start([page(cacheOf(addressOf), (call) => `for ${addressOf(call)}`)])
      await client.get('/x', FROM)
      // Of a whole field another part may be read.
      const isField = addressOf.toString().includes('header(')
      expect((await client.get('/x', FROM)).cache).toBe(isField && name !== 'per' ? 'BYPASS' : 'HIT')
    })
  })

  test('all fields may be enumerated by a client that has none that is watched', async () => {
    const route: Route = {
      method: 'GET',
      path: '/x',
      cache: { ttl: 60 },
      handler: (call) => `${call.names().length > 0}`,
    }
    const { client } = await start([route])
    for (let round = 0; round < 2; round += 1) expect((await client.get('/x')).cache).toBe('BYPASS')
  })

  test('scheme and host are no address, though frameworks look at the connection for them', async () => {
    const route: Route = { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: (call) => call.origin() }
    const { client } = await start([route])
    await client.get('/x')
    expect((await client.get('/x')).cache).toBe('HIT')
  })
}
