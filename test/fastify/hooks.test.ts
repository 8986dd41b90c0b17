import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { request as ask } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type RouteHandlerMethod } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import redwell, { type RedwellFastifyOptions } from '../../src/adapters/fastify/index.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

// What other hooks and plugins see of a reply, and what is seen of theirs.

const ttl = { config: { cache: { ttl: 60 } } }

async function start(options: RedwellFastifyOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(redwell, { url: 'memory:', logger: silentLogger, ...options })
  app.decorateRequest('user', '')
  app.addHook('onRequest', async (request) => {
    const { cookie } = request.headers
    if (cookie !== undefined) request.user = cookie
  })
  return app
}

/** With Redis, everything that writes is waited for. */
async function startOnRedis(options: RedwellFastifyOptions = {}): Promise<FastifyInstance> {
  const { url, close } = await sharedRedis()
  onTestFinished(close)
  const prefix = `test:${Math.random().toString(36).slice(2)}`
  return start({ url, prefix, commandTimeout: 5, connect: true, ...options })
}

const nameOf = (request: FastifyRequest): string => request.user || 'guest'

async function visit(app: FastifyInstance, url: string, users: readonly string[]): Promise<readonly string[]> {
  const seen: string[] = []
  for (const cookie of users) {
    const { body, headers } = await app.inject({ url, headers: { cookie } })
    seen.push(`${String(headers['x-redis-cache'])} ${body}`)
    await app.cache.settled()
  }
  return seen
}

describe('onSend hooks of the application', () => {
  const replies: readonly (readonly [kind: string, handler: RouteHandlerMethod, payload: 'string' | 'object'])[] = [
    ['text', async () => 'for %NAME%', 'string'],
    ['json', async () => ({ text: 'for %NAME%' }), 'string'],
    ['json of another type', async (_, reply) => reply.type('application/hal+json').send({ text: '%NAME%' }), 'string'],
    ['html in another charset', async (_, reply) => reply.type('text/html; charset=utf-16').send('%NAME%'), 'string'],
    ['svg', async (_, reply) => reply.type('image/svg+xml').send('<svg>%NAME%</svg>'), 'string'],
    ['without a type', (_, reply) => void reply.serializer(() => '%NAME%').send({ a: 1 }), 'string'],
    ['bytes', async (_, reply) => reply.type('image/png').send(Buffer.from('%NAME%')), 'object'],
    ['no text, whatever its type says', (_, reply) => reply.type('text/plain').send(Buffer.from([0xe4])), 'object'],
  ]

  test.each(replies)(
    '%s: what they are given of a hit is as of a miss, and what they make is nobody’s',
    async (_, handler, type) => {
      const app = await start()
      const types: string[] = []
      const personal = async (request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> => {
        types.push(typeof payload)
        reply.header('x-name', nameOf(request))
        return typeof payload === 'string' ? payload.replace('%NAME%', nameOf(request)) : payload
      }
      app.addHook('onSend', personal)
      app.get('/x', ttl, handler)
      await app.register(async (child) => {
        child.addHook('onSend', personal)
        child.get('/child', ttl, handler)
      })
      for (const url of ['/x', '/child']) {
        types.length = 0
        const answers = [
          await app.inject({ url, headers: { cookie: 'ann' } }),
          await app.inject({ url, headers: { cookie: 'bob' } }),
        ]
        expect(
          answers.map(({ statusCode, headers }) => [statusCode, headers['x-redis-cache'], headers['x-name']]),
        ).toEqual([
          [200, 'MISS', 'ann'],
          [200, 'HIT', 'bob'],
        ])
        const [miss, hit] = answers
        expect(hit?.body).toBe(miss?.body.replace('ann', 'bob'))
        expect(hit?.headers['content-type']).toBe(miss?.headers['content-type'])
        expect(new Set(types)).toEqual(new Set([type]))
        expect((await app.inject(url)).headers['x-name']).toBe('guest')
      }
    },
  )

  test('an envelope is put around a body once', async () => {
    const app = await start()
    app.addHook('onSend', async (_, __, payload) => JSON.stringify({ data: JSON.parse(String(payload)) as unknown }))
    app.get('/x', ttl, async () => ({ id: 1 }))
    for (const cache of ['MISS', 'HIT']) {
      const { headers, json } = await app.inject('/x')
      expect([headers['x-redis-cache'], json()]).toEqual([cache, { data: { id: 1 } }])
    }
  })

  test('may read who asks, also while a stream is copied', async () => {
    const app = await start()
    app.addHook('onSend', async (request, reply, payload) => {
      await new Promise(setImmediate)
      reply.header('x-name', nameOf(request))
      return payload
    })
    app.get('/x', ttl, async () => Readable.from(['a', 'b']))
    app.get('/mine', ttl, async (request) =>
      Readable.from(
        (async function* () {
          yield 'for '
          yield nameOf(request)
        })(),
      ),
    )
    expect(await visit(app, '/x', ['ann', 'bob'])).toEqual(['MISS ab', 'HIT ab'])
    expect(await visit(app, '/mine', ['ann', 'bob'])).toEqual(['MISS for ann', 'BYPASS for bob'])
  })

  test('one that fails ends the stream that is copied, and the next request is not kept waiting', async () => {
    const app = await start()
    const streams: Readable[] = []
    let fails = true
    app.addHook('onSend', async (_, reply, payload) => {
      if (fails && reply.statusCode < 400) throw new Error('hook')
      return payload
    })
    app.get('/x', ttl, async () => {
      const stream = new PassThrough()
      streams.push(stream.end('x'))
      return stream
    })
    expect((await app.inject('/x')).statusCode).toBe(500)
    expect(streams.map(({ destroyed }) => destroyed)).toEqual([true])
    fails = false
    expect((await app.inject('/x')).body).toBe('x')
  })
})

describe('what is read of who asks before the first onSend hook is the answer’s', () => {
  const late: readonly (readonly [where: string, declare: (app: FastifyInstance) => void])[] = [
    [
      'preSerialization',
      (app) => {
        app.addHook('preSerialization', async (request) => ({ name: nameOf(request) }))
        app.get('/x', ttl, async () => ({}))
      },
    ],
    [
      'a serializer of the reply',
      (app) => app.get('/x', ttl, (request, reply) => void reply.serializer(() => nameOf(request)).send({ a: 1 })),
    ],
    [
      'a serializer of the application',
      (app) => {
        const now: FastifyRequest[] = []
        app.addHook('preHandler', async (request) => void now.unshift(request))
        app.setReplySerializer(() => (now[0] === undefined ? '' : nameOf(now[0])))
        app.get('/x', ttl, async () => ({}))
      },
    ],
    ['toJSON', (app) => app.get('/x', ttl, async (request) => ({ toJSON: () => ({ name: nameOf(request) }) }))],
    [
      'a getter',
      (app) =>
        app.get('/x', ttl, async (request) => ({
          get name() {
            return request.headers.cookie
          },
        })),
    ],
    [
      'an error handler',
      (app) => {
        app.setErrorHandler((_, request, reply) => reply.code(404).send({ name: nameOf(request) }))
        app.get('/x', { config: { cache: { ttl: { 200: 60, 404: 60 } } } }, async () => {
          throw new Error('none')
        })
      },
    ],
  ]

  test.each(late)('%s', async (_, declare) => {
    const app = await start()
    declare(app)
    const [ann, bob] = await visit(app, '/x', ['ann', 'bob'])
    expect([ann, bob]).toEqual([expect.stringMatching(/^BYPASS .*ann/), expect.stringMatching(/^BYPASS .*bob/)])
  })
})

describe('a stream', () => {
  const kinds: readonly (readonly [kind: string, config: object, changes: boolean])[] = [
    ['whose session is saved', {}, true],
    ['of a write that evicts', { cacheEvict: { group: 'g' } }, false],
    ['of a write-through', { cachePut: { ttl: 60 } }, false],
  ]

  test.each(kinds)('%s: where it fails meanwhile, the answer is a 500', async (_, config, changes) => {
    const app = await startOnRedis({ sessions: {} })
    app.put('/x', { config }, async (request, reply) => {
      if (changes) Object.assign(request.session.data, { count: 1 })
      return reply.type('text/plain').send(createReadStream('/there/is/none'))
    })
    const { statusCode, json } = await app.inject({ method: 'PUT', url: '/x' })
    expect([statusCode, json<{ code: string }>().code]).toEqual([500, 'ENOENT'])
  })

  test('is destroyed where another answer is sent', async () => {
    const app = await startOnRedis({ sessions: { principal: (data) => data.userId } })
    const streams: Readable[] = []
    app.post('/login', async (request) => Object.assign(request.session.data, { userId: 'ann' }))
    app.post('/x', async (request, reply) => {
      Object.assign(request.session.data, { count: 1 })
      await app.sessions.revokeAll('ann')
      const stream = createReadStream(import.meta.filename)
      streams.push(stream)
      return reply.type('text/plain').send(stream)
    })
    const cookie = String((await app.inject({ method: 'POST', url: '/login' })).headers['set-cookie'])
    expect((await app.inject({ method: 'POST', url: '/x', headers: { cookie } })).statusCode).toBe(409)
    expect(streams.map(({ destroyed }) => destroyed)).toEqual([true])
  })
})

test.each([
  ['evicts', { cacheEvict: { group: 'lists' } }],
  ['is stored', { cachePut: { ttl: 60, shared: true } }],
  ['has no declaration', {}],
] as const)('a write that %s takes effect although its session cannot be saved', async (_, config) => {
  const app = await startOnRedis({ sessions: { principal: (data) => data.userId } })
  let value = 'old'
  app.post('/login', async (request) => Object.assign(request.session.data, { userId: 'ann' }))
  app.get('/x', { config: { cache: { ttl: 60, group: 'lists', shared: true } } }, async () => value)
  app.put('/x', { config }, async (request) => {
    value = 'new'
    Object.assign(request.session.data, { count: 1 })
    await app.sessions.revokeAll('ann')
    return value
  })
  await app.inject('/x')
  await app.cache.settled()
  const cookie = String((await app.inject({ method: 'POST', url: '/login' })).headers['set-cookie'])
  expect((await app.inject({ method: 'PUT', url: '/x', headers: { cookie } })).statusCode).toBe(409)
  expect((await app.inject('/x')).body).toBe('new')
})

describe('a session', () => {
  const paths = ['/get', '/post', '/cached', '/evicts', '/own', '/early', '/child']

  test('has what onSend hooks change, wherever they are registered', async () => {
    const app = Fastify()
    onTestFinished(() => app.close())
    app.get('/early', async () => 'x')
    await app.register(redwell, { url: 'memory:', sessions: {} })
    const count = async (request: FastifyRequest, _: FastifyReply, payload: unknown): Promise<unknown> => {
      if (!('quiet' in (request.query as object))) request.session.data.count = (request.session.data.count ?? 0) + 1
      return payload
    }
    app.get('/get', async () => 'x')
    app.post('/post', async () => 'x')
    app.get('/cached', ttl, async () => 'x')
    app.post('/evicts', { config: { cacheEvict: { group: 'g' } } }, async () => 'x')
    app.get('/own', { onSend: count }, async () => 'x')
    app.get('/count', async (request) => request.session.data.count ?? 0)
    await app.register(async (child) => {
      child.addHook('onSend', count)
      child.get('/child', async () => 'x')
    })
    app.addHook('onSend', count)
    const counts: Record<string, unknown> = {}
    for (const url of paths) {
      const method = url === '/post' || url === '/evicts' ? 'POST' : 'GET'
      const cookie = String((await app.inject({ method, url })).headers['set-cookie'])
      counts[url] = (await app.inject({ url: '/count?quiet', headers: { cookie } })).json()
    }
    // A route that was declared before redwell ends its session where redwell was registered.
    const { '/early': early, ...others } = counts
    expect(early).toBe(0)
    expect(others).toEqual({ '/get': 1, '/post': 1, '/cached': 1, '/evicts': 1, '/own': 2, '/child': 2 })
  })

  test('that is to be signed in is not, where a hook fails', async () => {
    const app = await start({ sessions: { principal: (data) => data.userId } })
    app.addHook('onSend', async (_, reply, payload) => {
      if (reply.statusCode < 400) throw new Error('hook')
      return payload
    })
    app.post('/login', async (request) => Object.assign(request.session.data, { userId: 'ann' }))
    const { statusCode, headers } = await app.inject({ method: 'POST', url: '/login' })
    expect([statusCode, headers['set-cookie']]).toEqual([500, undefined])
    expect(await app.sessions.list('ann')).toEqual([])
  })
})

test('nobody waits for a reply that is hijacked', async () => {
  const app = await start()
  app.get('/events', ttl, async (_, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    await once(reply.raw, 'close')
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const clients = [1, 2, 3].map(() => ask({ port, path: '/events', agent: false }).end())
  onTestFinished(() => clients.forEach((client) => client.destroy()))
  // Each is connected until the end.
  for (const client of clients) expect(await once(client, 'response')).toHaveLength(1)
})

test('a WebSocket with a cache is refused where it is declared', async () => {
  const app = await start()
  const route = { websocket: true, ...ttl }
  expect(() => app.get('/x', route, async () => 'x')).toThrow(/config\.cache of GET \/x:\n.*WebSocket/)
})
