import { expect, test } from 'vitest'
import { recordingLogger } from '../../support/logger.js'
import type { Bed } from '../contract.js'

/** Whether the cache is used, and what clients are told of it. */
export function conditions({ start }: Bed): void {
  test('when: the cache is left out of requests that it refuses, asynchronous or not', async () => {
    let count = 0
    const isPublic = (call: { header(name: string): string | undefined }) => call.header('x-preview') === undefined
    const { client } = await start([
      { method: 'GET', path: '/now', cache: { ttl: 60, when: isPublic }, handler: () => `${++count}` },
      {
        method: 'GET',
        path: '/later',
        cache: { ttl: 60, when: async (call) => isPublic(call) },
        handler: () => `${++count}`,
      },
    ])
    for (const path of ['/now', '/later']) {
      const { text } = await client.get(path)
      const preview = await client.get(path, { 'x-preview': '1' })
      expect([preview.cache, preview.text === text]).toEqual(['BYPASS', false])
      expect(await client.get(path)).toMatchObject({ cache: 'HIT', text })
    }
  })

  test.each(['resolves', 'rejects'])(
    'storeWhen: nothing is stored where it is asynchronous and %s, which is said once',
    async (how) => {
      const logger = recordingLogger()
      const storeWhen = (async () => {
        if (how === 'rejects') throw new Error('from storeWhen')
        return true
      }) as unknown as () => boolean
      const { client } = await start(
        [{ method: 'GET', path: '/x', cache: { ttl: 60, storeWhen }, handler: () => 'x' }],
        { redis: { logger } },
      )
      for (let round = 0; round < 3; round += 1)
        expect(await client.get('/x')).toMatchObject({ text: 'x', cache: 'BYPASS' })
      expect(logger.lines.filter((line) => /storeWhen of GET \/x.*must not be asynchronous/.test(line))).toHaveLength(1)
    },
  )

  test('a 304 has the fields of the handler that a middleware sets for all responses', async () => {
    const name = 'cross-origin-resource-policy'
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 60 },
          handler: () => ({ text: 'x', headers: [[name, 'cross-origin']] }),
        },
      ],
      { ambient: () => [[name, 'same-origin']] },
    )
    await client.get('/x')
    const hit = await client.get('/x')
    const not = await client.get('/x', { 'if-none-match': hit.headers['etag'] ?? '' })
    expect([hit.cache, not.status, not.headers[name]]).toEqual(['HIT', 304, hit.headers[name]])
    expect(hit.headers[name]).toContain('cross-origin')
  })

  test('a range of an entry is not compressed outside of the cache', async () => {
    const text = 'a text that is long enough to be worth it. '.repeat(100)
    const { client, redis } = await start([{ method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => text }], {
      compression: 'outside',
    })
    await client.get('/x')
    await redis.cache.settled()
    const part = await client.get('/x', { 'accept-encoding': 'gzip', range: 'bytes=0-2999' })
    expect([part.status, part.headers['content-encoding'], part.text]).toEqual([206, undefined, text.slice(0, 3000)])
  })

  test('storeWhen: a response that it refuses is served and not stored, whole or streamed, read or written', async () => {
    let complete = false
    const storeWhen = (response: { json(): unknown }) => (response.json() as { complete: boolean }).complete
    const { client } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 60, storeWhen }, handler: () => ({ json: { complete } }) },
      {
        method: 'GET',
        path: '/stream',
        cache: { ttl: 60, storeWhen },
        handler: () => ({
          headers: [['content-type', 'application/json']],
          stream: pieces('{"complete":', `${complete}}`),
        }),
      },
      { method: 'PUT', path: '/x', cachePut: { ttl: 60, storeWhen }, handler: () => ({ json: { complete } }) },
    ])
    for (const path of ['/x', '/stream'])
      for (let round = 0; round < 2; round += 1)
        expect(await client.get(path)).toMatchObject({ status: 200, text: '{"complete":false}' })
    await client.ask('/x', { method: 'PUT' })
    complete = true
    for (const path of ['/x', '/stream']) {
      expect((await client.get(path)).text).toBe('{"complete":true}')
      expect(await client.get(path)).toMatchObject({ cache: 'HIT', text: '{"complete":true}' })
    }
  })

  test.each<[number | string, RegExp]>([
    [0, /^max-age=0, must-revalidate$/],
    ['10s', /^max-age=(10|9)$/],
    ['1h', /^max-age=(60|59)$/],
  ])('clientMaxAge %s: what clients are told, on the miss, the hit and the 304', async (clientMaxAge, expected) => {
    const { client } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 60, clientMaxAge: clientMaxAge as '10s' }, handler: () => 'x' },
    ])
    const miss = await client.get('/x')
    const hit = await client.get('/x')
    const unchanged = await client.get('/x', { 'if-none-match': hit.headers['etag'] ?? '' })
    expect([miss.cache, hit.cache, unchanged.status]).toEqual(['MISS', 'HIT', 304])
    for (const { headers } of [miss, hit, unchanged]) expect(headers['cache-control']).toMatch(expected)
  })
}

async function* pieces(...texts: readonly string[]): AsyncGenerator<string> {
  for (const text of texts) {
    await new Promise((resolve) => setImmediate(resolve))
    yield text
  }
}
