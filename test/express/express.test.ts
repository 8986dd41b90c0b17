import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import compression from 'compression'
import express, { type NextFunction, type Request, type Response } from 'express'
import { describe, expect, test } from 'vitest'
import {
  cache,
  cacheEvict,
  cacheGroups,
  cachePut,
  type ExpressCacheOptions,
  redwell,
} from '../../src/adapters/express/index.js'
import { createRedis, OptionsError } from '../../src/index.js'
import { Client } from '../adapters/client.js'
import { memoryStores } from '../../src/testing/index.js'
import { recordingLogger, silentLogger } from '../support/logger.js'
import { start } from './app.js'

describe("Express's own answers", () => {
  test("a hit has Express's own ETag, and If-None-Match is answered with 304 by hit and miss alike", async () => {
    const { client, cached } = await start((app) =>
      app.get('/x', cache({ ttl: 60, group: 'g' }), (_req, res) => void res.json({ some: 'thing' })),
    )
    const plain = await start((app) => app.get('/x', (_req, res) => void res.json({ some: 'thing' })))
    const etag = (await plain.client.get('/x')).headers['etag'] as string
    expect((await client.get('/x')).headers['etag']).toBe(etag)
    const hit = await client.get('/x', { 'if-none-match': etag })
    expect([hit.status, hit.cache, hit.text]).toEqual([304, 'HIT', ''])
    await cached.redis.cache.deleteGroup('g')
    const miss = await client.get('/x', { 'if-none-match': etag })
    expect([miss.status, miss.cache, miss.text]).toEqual([304, 'MISS', ''])
    for (const answer of [hit, miss]) {
      expect([answer.headers['content-type'], answer.headers['content-length']]).toEqual([undefined, undefined])
      expect(answer.headers['x-powered-by']).toBe('Express')
    }
    expect(await client.get('/x')).toMatchObject({ status: 200, cache: 'HIT', text: '{"some":"thing"}' })
  })

  test('HEAD after a hit has the length of the GET', async () => {
    const { client } = await start((app) => app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('12345')))
    for (const outcome of ['MISS', 'HIT']) expect((await client.get('/x')).cache).toBe(outcome)
    const head = await client.ask('/x', { method: 'HEAD' })
    expect([head.cache, head.headers['content-length'], head.text]).toEqual(['HIT', '5', ''])
  })

  test("without Express's ETag there is one of ours, the same on each hit", async () => {
    const { client } = await start((app) => {
      app.set('etag', false)
      app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x'))
    })
    const miss = await client.get('/x')
    const hit = await client.get('/x')
    expect(miss.headers['etag']).toMatch(/^W\/"/)
    expect([hit.headers['etag'], hit.cache]).toEqual([miss.headers['etag'], 'HIT'])
  })

  test('strong ETags of the application are kept', async () => {
    const { client } = await start((app) => {
      app.set('etag', 'strong')
      app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x'))
    })
    const { etag } = (await client.get('/x')).headers
    expect(etag).toMatch(/^"/)
    expect((await client.get('/x', { 'if-none-match': etag as string })).status).toBe(304)
  })

  test('a request that the cache has no part in gets its 304 from Express', async () => {
    const { client } = await start((app) => app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x')))
    const { etag } = (await client.get('/x')).headers
    const answer = await client.get('/x', { 'if-none-match': etag as string, authorization: 'Bearer ann' })
    expect([answer.status, answer.text]).toEqual([304, ''])
  })

  test('what a logger reads of the response after a hit is what was sent', async () => {
    const seen: unknown[] = []
    const { client } = await start((app) => app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.json({ a: 1 })), {
      before: (app) =>
        app.use((_req, res, next) => {
          res.once('finish', () => seen.push([res.statusCode, res.getHeader('content-length'), res.headersSent]))
          next()
        }),
    })
    await client.get('/x')
    await client.get('/x')
    expect(seen).toEqual([
      [200, expect.anything(), true],
      [200, 7, true],
    ])
    expect(Number((seen[0] as unknown[])[1])).toBe(7)
  })

  test('a hit does not run what stands behind it', async () => {
    let runs = 0
    const count = (_req: Request, _res: Response, next: NextFunction) => {
      runs += 1
      next()
    }
    const { client } = await start((app) => {
      app.get('/x', cache({ ttl: 60 }), count, (_req, res) => void res.send('x'))
      app.use(count)
    })
    await client.get('/x')
    expect((await client.get('/x')).cache).toBe('HIT')
    expect(runs).toBe(1)
  })
})

describe('handlers that write with the means of node:http', () => {
  test.each<[string, (res: Response) => void]>([
    ['writeHead and end', (res) => void res.writeHead(200, { 'x-a': '1' }).end('hello')],
    ['writeHead with a list', (res) => void res.writeHead(200, ['x-a', '1']).end('hello')],
    ['writeHead with a reason', (res) => void res.writeHead(200, 'Fine', { 'x-a': '1' }).end('hello')],
    ['an encoding', (res) => void res.setHeader('x-a', '1').end('aGVsbG8=', 'base64')],
    ['a typed array', (res) => void res.setHeader('x-a', '1').end(new TextEncoder().encode('hello'))],
    [
      'pieces in one turn',
      (res) => {
        res.setHeader('x-a', '1').write('hel')
        res.end('lo')
      },
    ],
    [
      'pieces in several turns',
      (res) => {
        res.writeHead(200, { 'x-a': '1' })
        res.write('he')
        setImmediate(() => {
          res.write(Buffer.from('ll'))
          setImmediate(() => res.end('o'))
        })
      },
    ],
    ['an empty end after pieces', (res) => void (res.setHeader('x-a', '1').write('hello'), res.end())],
  ])('%s', async (_, handler) => {
    const { client } = await start((app) => app.get('/x', cache({ ttl: 60 }), (_req, res) => handler(res)))
    const miss = await client.get('/x')
    const hit = await client.get('/x')
    expect([miss.text, miss.cache, miss.headers['x-a']]).toEqual(['hello', 'MISS', '1'])
    expect([hit.text, hit.cache, hit.headers['x-a'], hit.headers['content-length']]).toEqual(['hello', 'HIT', '1', '5'])
  })

  test('callbacks of write and end are called', async () => {
    const called: string[] = []
    const { client } = await start((app) =>
      app.get('/x', cache({ ttl: 60 }), (_req, res) => {
        res.write('a', () => called.push('write'))
        res.end('b', () => called.push('end'))
      }),
    )
    await client.get('/x')
    await expect.poll(() => called.toSorted()).toEqual(['end', 'write'])
  })

  test('pieces leave at once, before the handler has ended', async () => {
    const go = new EventEmitter()
    const { client } = await start((app) =>
      app.get('/x', cache({ ttl: 60 }), async (_req, res) => {
        res.write('first')
        await once(go, 'on')
        res.end('second')
      }),
    )
    const answer = await client.open('/x')
    expect(await answer.next()).toBe('first')
    go.emit('on')
    expect(await answer.next()).toBe('second')
    expect((await client.get('/x')).text).toBe('firstsecond')
  })

  test('flushHeaders sends the head of an event stream before its first event', async () => {
    const go = new EventEmitter()
    const { client } = await start((app) =>
      app.get('/events', cache({ ttl: 60 }), async (_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
        res.flushHeaders()
        await once(go, 'on')
        res.end('data: 1\n\n')
      }),
    )
    const answer = await client.open('/events')
    expect(answer.message.headers['content-type']).toBe('text/event-stream')
    expect(answer.message.headers['x-redis-cache']).toBe('BYPASS')
    go.emit('on')
    expect(await answer.next()).toBe('data: 1\n\n')
  })

  test('a stream is piped with its back pressure, and stored', async () => {
    const piece = 'x'.repeat(64 * 1024)
    const { client } = await start((app) =>
      app.get('/x', cache({ ttl: 60 }), (_req, res) => void Readable.from(Array(20).fill(piece)).pipe(res)),
    )
    const miss = await client.get('/x')
    const hit = await client.get('/x')
    expect([miss.bytes.length, hit.bytes.length, hit.cache]).toEqual([20 * piece.length, 20 * piece.length, 'HIT'])
  })

  test('a body that is shorter than announced is not stored', async () => {
    let runs = 0
    const { client } = await start((app) =>
      app.get('/x', cache({ ttl: 60 }), (_req, res) => {
        runs += 1
        res.setHeader('content-length', 10)
        res.write('12345')
        res.end(runs === 1 ? '' : '67890')
      }),
    )
    const { message } = await client.open('/x')
    message.on('error', () => {})
    message.destroy()
    expect((await client.get('/x')).text).toBe('1234567890')
    expect(runs).toBe(2)
  })

  test('a handler that stops when its client leaves holds the key for 3 seconds', async () => {
    const waiting = new EventEmitter()
    let runs = 0
    const { client } = await start((app) =>
      app.get('/x', cache({ ttl: 60 }), (_req, res) => {
        runs += 1
        if (runs === 1) waiting.emit('begun')
        else res.send('second')
      }),
    )
    const begun = once(waiting, 'begun')
    const first = client.send('/x', {})
    first.on('error', () => {})
    await begun
    first.destroy()
    expect(await client.get('/x')).toMatchObject({ text: 'second', cache: 'BYPASS' })
    expect((await client.get('/x')).cache).toBe('MISS')
    expect((await client.get('/x')).cache).toBe('HIT')
  })

  test('a handler that ends twice has answered once', async () => {
    const { client } = await start((app) => {
      app.put('/x', cacheEvict({ group: 'g' }), (_req, res) => {
        // For the second end, Node emits this for a response of its own, too.
        res.on('error', () => {})
        res.status(201).json({ first: true })
        res.status(500).end('second')
      })
    })
    const answer = await client.ask('/x', { method: 'PUT' })
    expect([answer.status, answer.text]).toEqual([201, '{"first":true}'])
  })

  test('a handler that throws after it has answered a write has answered', async () => {
    const { client } = await start((app) => {
      app.put('/x', cacheEvict({ group: 'g' }), (_req, res) => {
        res.status(201).json({ first: true })
        throw new Error('too late')
      })
      app.use((_error: Error, _req: Request, res: Response, _next: NextFunction) => void res.status(500).send('broken'))
    })
    const answer = await client.ask('/x', { method: 'PUT' })
    expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
      201,
      '{"first":true}',
      'application/json; charset=utf-8',
    ])
  })

  test.each<[string, (req: Request, res: Response) => void]>([
    [
      'throws',
      () => {
        throw new Error('in the middle')
      },
    ],
    ['destroys the socket', (req) => void req.socket.destroy()],
    ['destroys the response', (_req, res) => void res.destroy()],
  ])('a write that has sent a piece and then %s is cut off', async (_, fail) => {
    const { client } = await start((app) => {
      app.put('/x', cacheEvict({ group: 'g' }), (req, res) => {
        res.write('piece')
        fail(req, res)
      })
      // Silent: Express would write to the console.
      app.use((_error: Error, req: Request, _res: Response, _next: NextFunction) => void req.socket.destroy())
    })
    await expect(client.ask('/x', { method: 'PUT' })).rejects.toThrow(/aborted|hang up|ECONNRESET/)
  })
})

describe('errors', () => {
  test('a stale entry stands in for an error that is sent and for one that is thrown', async () => {
    let now = Date.now()
    let fails: 'no' | 'send' | 'throw' | 'reject' = 'no'
    const { client } = await start(
      (app) => {
        app.get('/x', cache({ ttl: 10, staleIfError: 60 }), async (_req, res) => {
          if (fails === 'send') return void res.status(503).send('down')
          if (fails === 'throw') throw new Error('down')
          if (fails === 'reject') await Promise.reject(new Error('down'))
          res.set('x-own', '1').send('good')
        })
      },
      {
        now: () => now,
        before: (app) =>
          app.set('env', 'test').use((_req, res, next) => {
            res.set('access-control-allow-origin', '*')
            next()
          }),
      },
    )
    await client.get('/x')
    now += 20_000
    for (const how of ['send', 'throw', 'reject'] as const) {
      fails = how
      const answer = await client.get('/x')
      expect([answer.status, answer.text, answer.cache]).toEqual([200, 'good', 'HIT'])
      expect(answer.headers['content-security-policy']).toBeUndefined()
      expect([answer.headers['access-control-allow-origin'], answer.headers['x-own']]).toEqual(['*', '1'])
      expect(answer.headers['content-length']).toBe('4')
    }
    now += 60_000
    expect((await client.get('/x')).status).toBe(500)
  })

  test("a function of the options that throws after the write goes to the application's error handling", async () => {
    const { client } = await start((app) => {
      const group = (): string => {
        throw new Error('no group')
      }
      app.put('/x', cacheEvict({ group }), (_req, res) => void res.set('x-own', '1').json({ ok: true }))
      app.use(
        (error: Error, _req: Request, res: Response, _next: NextFunction) => void res.status(418).send(error.message),
      )
    })
    const answer = await client.ask('/x', { method: 'PUT' })
    expect([answer.status, answer.text, answer.headers['x-own']]).toEqual([418, 'no group', undefined])
  })

  test('a path that nobody answers is a 404 and not stored', async () => {
    const { client } = await start((app) => app.use(cache({ ttl: 60 })))
    expect(await client.get('/x')).toMatchObject({ status: 404, cache: 'BYPASS' })
  })
})

describe('compression', () => {
  const big = { text: 'x'.repeat(2000) }

  test('outside, it encodes what the cache gives: one entry for all encodings', async () => {
    let runs = 0
    const { client } = await start(
      (app) =>
        app.get('/x', cache({ ttl: 60 }), (_req, res) => {
          runs += 1
          res.json(big)
        }),
      { before: (app) => app.use(compression()) },
    )
    const ask = (encoding: string) => client.get('/x', { 'accept-encoding': encoding })
    const answers = [await ask('gzip'), await ask('br'), await ask('identity')]
    expect(answers.map(({ cache: outcome }) => outcome)).toEqual(['MISS', 'HIT', 'HIT'])
    expect(answers.map(({ headers }) => headers['content-encoding'])).toEqual(['gzip', 'br', undefined])
    const [gzip, br, identity] = answers.map(({ bytes }) => bytes) as [Buffer, Buffer, Buffer]
    for (const bytes of [gunzipSync(gzip), brotliDecompressSync(br), identity])
      expect(JSON.parse(bytes.toString())).toEqual(big)
    expect(runs).toBe(1)
  })

  test('inside, each encoding is a variant of its own', async () => {
    let runs = 0
    const { client } = await start((app) =>
      app.get('/x', cache({ ttl: 60 }), compression(), (_req, res) => {
        runs += 1
        res.json(big)
      }),
    )
    const ask = (encoding: string) => client.get('/x', { 'accept-encoding': encoding })
    for (const outcome of ['MISS', 'HIT']) {
      for (const encoding of ['gzip', 'br']) {
        const answer = await ask(encoding)
        expect([answer.cache, answer.headers['content-encoding']]).toEqual([outcome, encoding])
        const decode = encoding === 'gzip' ? gunzipSync : brotliDecompressSync
        expect(JSON.parse(decode(answer.bytes).toString())).toEqual(big)
      }
    }
    expect(runs).toBe(2)
  })
})

describe('routers and applications', () => {
  test('routers and sub-applications cache under the whole path', async () => {
    const { client } = await start((app) => {
      const router = express.Router()
      router.get('/:id', cache({ ttl: 60 }), (req, res) => void res.send(`router ${req.params.id}`))
      const sub = express()
      sub.get('/:id', cache({ ttl: 60 }), (req, res) => void res.send(`sub ${req.params.id}`))
      sub.delete('/:id', cacheEvict({ key: 'path' }), (_req, res) => void res.status(204).end())
      app.use('/a', router)
      app.use('/b', sub)
    })
    for (const outcome of ['MISS', 'HIT']) {
      expect(await client.get('/a/1')).toMatchObject({ text: 'router 1', cache: outcome })
      expect(await client.get('/b/1')).toMatchObject({ text: 'sub 1', cache: outcome })
    }
    await client.ask('/b/1', { method: 'DELETE' })
    expect([(await client.get('/a/1')).cache, (await client.get('/b/1')).cache]).toEqual(['HIT', 'MISS'])
  })

  test('a stale entry of a sub-application is refreshed through the application that requests enter by', async () => {
    let now = Date.now()
    let version = 1
    const seen: unknown[] = []
    const { client } = await start(
      (app) => {
        const sub = express()
        sub.get('/x', cache({ ttl: 10, staleWhileRevalidate: 60 }), (req, res) => {
          seen.push([req.originalUrl, res.locals['address'], req.get('x-user'), res.locals['stamp']])
          res.send(`version ${version}`)
        })
        app.use((req, res, next) => {
          res.locals['stamp'] = 'outer'
          res.locals['address'] = req.ip
          next()
        })
        app.use('/sub', express.json(), sub)
      },
      { now: () => now },
    )
    await client.get('/sub/x?a=1', { 'x-user': 'ann' })
    now += 20_000
    version = 2
    expect((await client.get('/sub/x?a=1', { 'x-user': 'ann' })).text).toBe('version 1')
    await expect.poll(async () => (await client.get('/sub/x?a=1')).text).toBe('version 2')
    expect(seen).toEqual([
      ['/sub/x?a=1', '127.0.0.1', 'ann', 'outer'],
      ['/sub/x?a=1', '192.0.2.1', undefined, 'outer'],
    ])
  })

  test('a refresh that a guard refuses leaves the entry, and the key free', async () => {
    let now = Date.now()
    const { client } = await start(
      (app) =>
        app.get(
          '/x',
          (req, res, next) => void (req.get('x-key') === '1' ? next() : res.status(401).end()),
          cache({ ttl: 10, staleWhileRevalidate: 60 }),
          (_req, res) => void res.send('x'),
        ),
      { now: () => now },
    )
    const ask = () => client.get('/x', { 'x-key': '1' })
    await ask()
    now += 20_000
    expect((await ask()).cache).toBe('HIT')
    now += 60_000
    expect(await ask()).toMatchObject({ text: 'x', cache: 'MISS' })
  })

  test('cache on a router answers its GETs and lets other methods pass; that of a route decides', async () => {
    const { client } = await start((app) => {
      const router = express.Router()
      router.use(cache({ ttl: 60, group: 'r' }), cacheEvict({ group: 'r' }))
      router.get('/x', cache({ ttl: 5, group: 'r' }), (_req, res) => void res.send('x'))
      router.post('/x', (_req, res) => void res.status(201).send('made'))
      app.use('/r', router)
    })
    const miss = await client.get('/r/x')
    expect([miss.cache, miss.headers['cache-control']]).toEqual(['MISS', 'max-age=5'])
    const hit = await client.get('/r/x')
    expect(hit.cache).toBe('HIT')
    expect((await client.get('/r/x', { 'if-none-match': hit.headers['etag'] as string })).status).toBe(304)
    expect((await client.ask('/r/x', { method: 'POST' })).status).toBe(201)
    expect((await client.get('/r/x')).cache).toBe('MISS')
  })

  test('two caches of one path are told once, unless one word says whose the entries are', async () => {
    const said = async (options: readonly [ExpressCacheOptions, ExpressCacheOptions]): Promise<number> => {
      const logger = recordingLogger()
      const { client } = await start(
        (app) => {
          const routers = options.map((own, at) =>
            express.Router().get('/x', cache({ ttl: 60, ...own }), (_req, res) => void res.send(String(at))),
          )
          app.use((req, res, next) => void routers[Number(req.headers['x-version'])]?.(req, res, next))
        },
        { logger },
      )
      for (const version of ['0', '1', '0', '1']) await client.get('/x', { 'x-version': version })
      return logger.lines.filter((line) => /two declarations of cache are those of GET \/x, .*`prefix`/.test(line))
        .length
    }
    expect(await said([{}, {}])).toBe(1)
    expect(await said([{ prefix: 'v0' }, { prefix: 'v1' }])).toBe(0)
    expect(await said([{ host: true }, { host: true }])).toBe(0)
    expect(await said([{ enabled: false }, {}])).toBe(0)
  })

  test('a cache of all routes and one of a route are not two of one path', async () => {
    const logger = recordingLogger()
    const { client } = await start(
      (app) => app.use(cache({ ttl: 60 })).get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x')),
      { logger },
    )
    for (let turn = 0; turn < 3; turn += 1) await client.get('/x')
    expect(logger.lines).toEqual([])
  })

  test('one `cache` on several routes is a cache for each', async () => {
    const briefly = cache({ ttl: 60 })
    const declare = (name: string) => (app: express.Express) => {
      app.get('/a', briefly, (_req, res) => void res.send(`${name} a`))
      app.get('/b', briefly, (_req, res) => void res.send(`${name} b`))
    }
    const [one, two] = [await start(declare('one')), await start(declare('two'))]
    for (const outcome of ['MISS', 'HIT']) {
      for (const [name, { client }] of [['one', one] as const, ['two', two] as const]) {
        expect(await client.get('/a')).toMatchObject({ text: `${name} a`, cache: outcome })
        expect(await client.get('/b')).toMatchObject({ text: `${name} b`, cache: outcome })
      }
    }
  })

  test('a trailing slash has an entry of its own, and what ends one path ends the other', async () => {
    const declare = (app: express.Express) => {
      app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x'))
      app.delete('/x', cacheEvict({ key: 'path' }), (_req, res) => void res.status(204).end())
      app.get('/x/', cache({ ttl: 60 }), (_req, res) => void res.send('x/'))
    }
    const lax = await start(declare)
    for (const outcome of ['MISS', 'HIT'])
      expect([(await lax.client.get('/x')).cache, (await lax.client.get('/x/')).cache]).toEqual([outcome, outcome])
    await lax.client.ask('/x', { method: 'DELETE' })
    expect((await lax.client.get('/x/')).cache).toBe('MISS')
    const strict = await start(declare, { before: (app) => app.enable('strict routing') })
    expect([(await strict.client.get('/x')).text, (await strict.client.get('/x/')).text]).toEqual(['x', 'x/'])
  })

  test('parameters keep their case though the router does not look at it', async () => {
    const { client } = await start((app) =>
      app.get('/users/:id', cache({ ttl: 60 }), (req, res) => void res.send(req.params.id)),
    )
    expect([(await client.get('/users/ABC')).text, (await client.get('/users/abc')).text]).toEqual(['ABC', 'abc'])
  })
})

describe('writes', () => {
  const declare =
    (...words: express.RequestHandler[]) =>
    (app: express.Express) => {
      app.get('/a', cache({ ttl: 60, group: 'g' }), (_req, res) => void res.send('a'))
      app.get('/b', cache({ ttl: 60, group: 'g' }), (_req, res) => void res.send('b'))
      app.put('/a', ...words, (_req, res) => void res.send('new a'))
    }

  test.each([
    ['cachePut before cacheEvict', [cachePut({ ttl: 60, group: 'g' }), cacheEvict({ group: 'g' })]],
    ['cacheEvict before cachePut', [cacheEvict({ group: 'g' }), cachePut({ ttl: 60, group: 'g' })]],
  ])('%s are one write: its own entry stays in the group that it invalidates', async (_, words) => {
    const { client } = await start(declare(...words))
    await client.get('/a')
    await client.get('/b')
    await client.ask('/a', { method: 'PUT' })
    expect(await client.get('/a')).toMatchObject({ text: 'new a', cache: 'HIT' })
    expect((await client.get('/b')).cache).toBe('MISS')
  })

  test('two evictions that a request meets both count', async () => {
    const { client } = await start((app) => {
      app.get('/a', cache({ ttl: 60, group: 'a' }), (_req, res) => void res.send('a'))
      app.get('/b', cache({ ttl: 60, group: 'b' }), (_req, res) => void res.send('b'))
      app.post('/c', cacheEvict({ group: 'a' }), cacheEvict({ group: 'b' }), (_req, res) => void res.send('done'))
    })
    for (const path of ['/a', '/b']) await client.get(path)
    await client.ask('/c', { method: 'POST' })
    for (const path of ['/a', '/b']) expect((await client.get(path)).cache).toBe('MISS')
  })

  test('RFC 9111 4.4: a write that says nothing about caching invalidates its own URI', async () => {
    const { client } = await start((app) => {
      app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x'))
      app.put('/x', (_req, res) => void res.status(204).end())
      app.patch('/x', (_req, res) => void res.status(409).end())
    })
    await client.get('/x')
    await client.ask('/x', { method: 'PATCH' })
    expect((await client.get('/x')).cache).toBe('HIT')
    await client.ask('/x', { method: 'PUT' })
    expect((await client.get('/x')).cache).toBe('MISS')
  })

  test('so it does before this process has seen a GET: another one may have stored it', async () => {
    const store = memoryStores()
    const declareBoth = (app: express.Express) => {
      app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x'))
      app.put('/x', (_req, res) => void res.status(204).end())
    }
    const [reader, writer] = [await start(declareBoth, { store }), await start(declareBoth, { store })]
    await reader.client.get('/x')
    await writer.client.ask('/x', { method: 'PUT' })
    expect((await reader.client.get('/x')).cache).toBe('MISS')
  })

  test('a stream that answers a write begins when what it invalidates is invalid', async () => {
    const go = new EventEmitter()
    const { client } = await start((app) => {
      app.get('/x', cache({ ttl: 60, group: 'g' }), (_req, res) => void res.send('x'))
      app.post('/y', cacheEvict({ group: 'g' }), async (_req, res) => {
        res.write('begun')
        await once(go, 'on')
        res.end()
      })
    })
    await client.get('/x')
    const request = client.send('/y', { method: 'POST' })
    const [message] = (await once(request, 'response')) as [IncomingMessage]
    expect((await client.get('/x')).cache).toBe('MISS')
    go.emit('on')
    message.resume()
    await once(message, 'end')
  })
})

describe('who is asking', () => {
  test.each<[string, (app: express.Express) => void, (req: Request) => unknown]>([
    ['the cookie', () => {}, (req) => req.headers.cookie],
    ['req.get', () => {}, (req) => req.get('cookie')],
    [
      'req.user',
      (app) => app.use((req, _res, next) => (Object.assign(req, { user: 'ann' }), next())),
      (req) => (req as { user?: unknown }).user,
    ],
    ['req.session, though it is empty', () => {}, (req) => (req as { session?: unknown }).session],
  ])('I5: an answer whose handler has looked at %s is nobody else’s', async (_, before, read) => {
    const { client } = await start(
      (app) => app.get('/x', cache({ ttl: 60 }), (req, res) => void res.send(`for ${String(read(req))}`)),
      { before },
    )
    const ask = () => client.get('/x', { cookie: 'sid=1' })
    expect([(await ask()).cache, (await ask()).cache]).toEqual(['BYPASS', 'BYPASS'])
  })

  test('what ran before the cache may look at everything', async () => {
    const { client } = await start((app) => app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x')), {
      before: (app) => app.use((req, _res, next) => (Object.assign(req, { user: req.headers.cookie }), next())),
    })
    const ask = () => client.get('/x', { cookie: 'sid=1' })
    expect([(await ask()).cache, (await ask()).cache]).toEqual(['MISS', 'HIT'])
  })

  test('a token that a middleware put into Authorization counts as one that was sent', async () => {
    const { client } = await start((app) => app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x')), {
      before: (app) =>
        app.use((req, _res, next) => {
          if (typeof req.query['token'] === 'string') req.headers.authorization = `Bearer ${req.query['token']}`
          next()
        }),
    })
    for (const path of ['/x?token=1', '/x?token=1']) expect((await client.get(path)).cache).toBe('BYPASS')
  })
})

describe('set-up', () => {
  test('a handle that is there already is kept, so that tests can bring their own', async () => {
    const own = createRedis({ url: 'memory:' })
    const { client, cached } = await start(
      (app) =>
        app.get('/x', (_req, res) => void res.send(String(res.locals.redis === own && res.locals.cache === own.cache))),
      { before: (app) => app.use((_req, res, next) => ((res.locals.redis = own), next())) },
    )
    expect((await client.get('/x')).text).toBe('true')
    expect(cached.redis).not.toBe(own)
    await own.close()
  })

  test('a handle that was given stays open', async () => {
    const redis = createRedis({ url: 'memory:' })
    {
      await using cached = redwell({ redis })
      expect(cached.redis).toBe(redis)
    }
    expect(redis.status).toBe('ready')
    const own = redwell({ url: 'memory:' })
    await own.close()
    expect(own.redis.status).toBe('closed')
    await redis.close()
  })

  test('a route without redwell before it is told how to fix that', async () => {
    const app = express()
    app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x'))
    app.use(
      (error: Error, _req: Request, res: Response, _next: NextFunction) => void res.status(500).send(error.message),
    )
    const server = createServer(app).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const answer = await new Client((server.address() as AddressInfo).port).get('/x')
    expect([answer.status, answer.text]).toEqual([500, expect.stringContaining('app.use(redwell({ … }))')])
    server.close()
  })

  test('wrong options and settings are told where they are declared', () => {
    expect(() => cache({ ttl: '5 minutes' as '5m' })).toThrow(OptionsError)
    expect(() => redwell({ url: 'http://localhost', logger: silentLogger })).toThrow(/redis:\/\//)
  })

  test('groups that only the handler knows', async () => {
    const { client, cached } = await start((app) =>
      app.get('/x', cache({ ttl: 60 }), (_req, res) => {
        cacheGroups(res, 'late', 'later')
        res.send('x')
      }),
    )
    await client.get('/x')
    expect((await client.get('/x')).cache).toBe('HIT')
    await cached.redis.cache.deleteGroup('later')
    expect((await client.get('/x')).cache).toBe('MISS')
  })
})
