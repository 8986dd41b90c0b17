import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import zlib from 'node:zlib'
import type { RedisClientType } from '@redis/client'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { devalueCoder } from '../../src/data/coders/devalue.js'
import { msgpackrCoder } from '../../src/data/coders/msgpackr.js'
import { type Coder, type CompressionOptions, jsonCoder, type Key, OptionsError, ValueError } from '../../src/index.js'
import { backends } from './support.js'

const rich = () => ({
  at: new Date(1e12),
  byId: new Map<unknown, unknown>([
    [1, { a: [undefined] }],
    ['b', new Set(['x'])],
  ]),
  big: 2n ** 70n,
  small: 5n,
  bytes: new Uint8Array([1, 2, 255]),
  floats: new Float64Array([1.5, Number.NaN]),
  nothing: null,
  notANumber: Number.NaN,
})

describe.each(['memory', 'redis'])('coders on %s', (where) => {
  const { make, beside } = backends(where)

  test.each([devalueCoder, msgpackrCoder])('$name keeps what JSON loses', async (coder) => {
    const one = await make()
    const two = where === 'memory' ? one : await beside(one)
    await one.cache.namespace('n', { coder }).set('k', rich())
    expect(await two.cache.namespace('n', { coder }).get('k')).toEqual(rich())
    await one.cache.namespace('n', { coder }).set('k', rich())
    expect(await two.cache.namespace('n', { coder }).get('k')).toEqual(rich())
  })

  test.each([
    ['json', jsonCoder, { list: [1, { when: new Map() }] }, /a Map at \.list\[1\]\.when has no JSON form$/],
    ['json', jsonCoder, { a: { b: 1n } }, /a bigint at \.a\.b has no JSON form/],
    ['json', jsonCoder, { rate: Number.NaN }, /NaN at \.rate has no JSON form/],
    ['json', jsonCoder, { bytes: new Uint8Array(1) }, /a typed array or buffer at \.bytes/],
    ['json', jsonCoder, [() => 1], /a function at \[0\]/],
    ['json', jsonCoder, { row: Promise.resolve(1) }, /a Promise \(is an `await` missing\?\) at \.row/],
    ['json', jsonCoder, circular(), /deeper than 1000, or contains itself/],
    ['msgpackr', msgpackrCoder, { f: () => 1 }, /a function at \.f has no stored form/],
    ['msgpackr', msgpackrCoder, circular(), /contains itself/],
    ['devalue', devalueCoder, { f: () => 1 }, /function/],
    [
      'devalue',
      devalueCoder,
      new (class Account {
        owner = 'ann'
      })(),
      /non-POJO/,
    ],
  ])('%s: what it cannot encode is an error that names namespace and key', async (name, coder, value, reason) => {
    const { cache } = await make()
    const values = cache.namespace('orders', { coder })
    const refused = await values.set(['eu', 7], value).catch((error: unknown) => error as Error)
    expect(refused).toBeInstanceOf(ValueError)
    const { message } = refused as Error
    expect(message).toContain(
      `The value of key ["eu",7] in namespace 'orders' cannot be encoded by the ${name} coder: `,
    )
    expect(message.slice(0, -1)).toMatch(reason)
    expect(await values.has(['eu', 7])).toBe(false)
  })

  test('undefined is refused by every coder, because it stands for "there is none"', async () => {
    const { cache } = await make()
    for (const coder of [jsonCoder, devalueCoder, msgpackrCoder])
      await expect(cache.namespace('n', { coder }).set('k', undefined)).rejects.toThrow(/means that there is none/)
  })

  test('what JSON has a form for goes through it', async () => {
    const { cache } = await make()
    const value = {
      at: new Date(5),
      url: new URL('http://a/b'),
      gone: undefined,
      own: new (class Point {
        x = 1
      })(),
    }
    await cache.set('k', value)
    expect(await cache.get('k')).toEqual({ at: '1970-01-01T00:00:00.005Z', url: 'http://a/b', own: { x: 1 } })
  })

  test('bytes are kept as they are by every coder, and are one’s own to change', async () => {
    const { cache } = await make()
    for (const coder of [jsonCoder, devalueCoder, msgpackrCoder]) {
      const images = cache.namespace<Key, Uint8Array>(`images ${coder.name}`, { coder })
      const bytes = randomBytes(300)
      await images.set('a', new Uint8Array(bytes))
      const read = await images.get('a')
      expect(Buffer.compare(read as Buffer, bytes)).toBe(0)
      read?.fill(0)
      expect(Buffer.compare((await images.get('a')) as Buffer, bytes)).toBe(0)
    }
  })

  test('an entry of another coder, or one that does not decode, is a miss and is loaded anew', async () => {
    const { cache } = await make()
    await cache.namespace('n', { coder: devalueCoder }).set('k', 1)
    expect(await cache.namespace('n').getEntry('k')).toEqual({
      outcome: 'miss',
      reason: 'undecodable',
      value: undefined,
    })
    const broken: Coder = {
      ...jsonCoder,
      decode: () => {
        throw new Error('broken')
      },
    }
    await cache.namespace('n').set('k', 1)
    const values = cache.namespace<Key, number>('n', { coder: broken })
    expect((await values.getEntry('k')).outcome).toBe('miss')
    expect(await values.getOrSet('k', () => 2)).toBe(2)
    expect(await cache.namespace('n').get('k')).toBe(2)
  })

  const text = 'abcdefghij '.repeat(1000)
  const codecs = (['brotli', 'deflate', 'zstd'] as const).filter((codec) => codec !== 'zstd' || 'zstdCompress' in zlib)
  test.each(codecs)('%s makes large values smaller, and reads what others wrote with another codec', async (codec) => {
    const { cache } = await make()
    const plain = cache.namespace<Key, string>('n')
    const packed = cache.namespace<Key, string>('n', { compression: { codec } })
    const sizes: Record<string, string> = { small: 'x'.repeat(1000), large: text, huge: text.repeat(40) }
    for (const [key, value] of Object.entries(sizes)) {
      await packed.set(key, value)
      expect([await plain.get(key), await packed.get(key)]).toEqual([value, value])
      await plain.set(key, value)
      expect(await packed.get(key)).toBe(value)
    }
    await packed.set('bytes', Buffer.from(text) as unknown as string)
    expect(String(await plain.get('bytes'))).toBe(text)
  })

  test('values below the threshold, and those that do not get smaller, are stored as they are', async () => {
    const redis = await make()
    const bytesOf = async (compression: boolean | CompressionOptions, value: Buffer) => {
      const values = redis.cache.namespace<Key, Buffer>('n', { compression })
      await values.set('k', value)
      expect(Buffer.compare((await values.get('k')) as Buffer, value)).toBe(0)
      return where === 'memory' ? undefined : await (redis.client as RedisClientType).strLen(values.keyOf('k'))
    }
    const [below, above, noise] = [Buffer.alloc(4095), Buffer.alloc(4096), randomBytes(8192)]
    const sizes = [
      await bytesOf(true, below),
      await bytesOf(true, above),
      await bytesOf(true, noise),
      await bytesOf({ threshold: 10 }, below),
    ]
    if (where === 'memory') return
    expect(sizes[0]).toBeGreaterThan(4095)
    expect(sizes[1]).toBeLessThan(500)
    expect(sizes[2]).toBeGreaterThan(8192)
    expect(sizes[3]).toBeLessThan(500)
  })
})

test('a damaged body is a miss, not a crash', async () => {
  const { createRedis } = await import('../../src/index.js')
  const { memoryStores } = await import('../../src/testing/index.js')
  const stores = memoryStores()
  await using redis = createRedis({ store: stores })
  const values = redis.cache.namespace<Key, string>('n', { compression: { threshold: 0 } })
  await values.set('k', 'x'.repeat(5000))
  const store = stores('redwell')
  const key = values.keyOf('k').slice('redwell:entry:'.length)
  const found = await store.read([key], ['', ':n'])
  const entry = found.entries[0]!
  expect(entry.flags >> 4).toBe(1)
  for (const body of [entry.body.subarray(0, 8), Buffer.alloc(100), randomBytes(50_000)]) {
    await store.set(key, { ...entry, body }, 60_000)
    expect(await values.getEntry('k')).toMatchObject({ outcome: 'miss', reason: 'undecodable' })
  }
  await store.set(key, { ...entry, flags: 9 << 4 }, 60_000)
  expect(await values.getEntry('k')).toMatchObject({ outcome: 'miss', reason: 'undecodable' })
})

test.each(['brotli', 'deflate'] as const)(
  'a few bytes of %s that would inflate to more than is allowed are a miss, though their value could be decoded',
  async (codec) => {
    const { createRedis } = await import('../../src/index.js')
    const { memoryStores } = await import('../../src/testing/index.js')
    const stores = memoryStores()
    await using redis = createRedis({ store: stores })
    const values = redis.cache.namespace<Key, string>('n', { compression: { threshold: 0, codec } })
    const long = 'x'.repeat(2_000_000)
    await values.set('k', long)
    expect(await values.get('k')).toBe(long)
    const store = stores('redwell')
    const key = values.keyOf('k').slice('redwell:entry:'.length)
    const [entry] = (await store.read([key], [])).entries
    const vast = Buffer.alloc(80_000_000, 'x')
    vast[0] = vast[vast.length - 1] = '"'.charCodeAt(0)
    const bomb =
      codec === 'brotli'
        ? zlib.brotliCompressSync(vast, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } })
        : zlib.deflateRawSync(vast, { level: 1 })
    await store.set(key, { ...entry!, body: bomb, memo: undefined }, 60_000)
    expect(await values.getEntry('k')).toMatchObject({ outcome: 'miss', reason: 'undecodable' })
  },
)

test.each([{ level: 12 }, { level: 1.5 }, { codec: 'deflate', level: 10 }, { threshold: Number.NaN }])(
  'wrong compression options are refused: %j',
  async (compression) => {
    const { createRedis } = await import('../../src/index.js')
    await using redis = createRedis({ url: 'memory:' })
    expect(() => redis.cache.namespace('n', { compression: compression as CompressionOptions })).toThrow(OptionsError)
  },
)

test.each([jsonCoder, devalueCoder, msgpackrCoder])('$name: every JSON value survives', (coder) => {
  const same = (value: unknown): unknown => coder.decode(Buffer.from(coder.encode(value)))
  // JSON has no negative zero, and `__proto__` means something else to whoever assigns it.
  const plain = fc.jsonValue().filter((value) => !/-0|__proto__/.test(show(value)))
  fc.assert(fc.property(plain, (value) => void expect(same(value)).toEqual(value)))
})

test('importing redwell loads neither devalue nor msgpackr', () => {
  const hook = `export async function resolve(name, context, next) {
    if (/^(devalue|msgpackr)/.test(name)) throw new Error('loads ' + name)
    return next(name, context)
  }`
  const register = `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hook))})`
  const load = (file: string): string => {
    const code = `import(${JSON.stringify(join(import.meta.dirname, '../../src', file))})`
    return spawnSync(process.execPath, ['--import', 'tsx', '--import', dataUrl(register), '-e', code], {
      encoding: 'utf8',
    }).stderr
  }
  expect(load('index.ts')).toBe('')
  expect(load('data/coders/devalue.ts')).toContain('loads devalue')
})

function dataUrl(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (Object.is(inner, -0) ? '-0' : inner))
}

function circular(): object {
  const value: Record<string, unknown> = {}
  value['self'] = value
  return value
}
