import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import redwell, { type RedwellFastifyOptions } from '../../src/adapters/fastify/index.js'
import { recordingLogger } from '../support/logger.js'

/*
 * Cache poisoning: a request that plants an answer which others are given. Cache deception: a request that makes a
 * victim's answer be kept where the attacker can fetch it.
 */

const apps: FastifyInstance[] = []
const logger = recordingLogger()

async function start(declare: (app: FastifyInstance) => void, options: RedwellFastifyOptions = {}) {
  const app = Fastify({ trustProxy: true })
  apps.push(app)
  await app.register(redwell, { url: 'memory:', logger, ...options })
  declare(app)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return (target: string, headers: Record<string, string> = {}) => ask(port, target, headers)
}

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

/** The request line goes out as it is written here; every client library would mend it. */
async function ask(port: number, target: string, headers: Record<string, string>) {
  const socket = connect(port, '127.0.0.1')
  const fields = Object.entries({ host: 'shop.example', ...headers, connection: 'close' })
  socket.write(`GET ${target} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'close')
  const text = Buffer.concat(chunks).toString()
  return { status: Number(text.slice(9, 12)), cache: /^x-redis-cache: (\w+)/im.exec(text)?.[1], body: bodyOf(text) }
}

function bodyOf(text: string): string {
  return text.slice(text.indexOf('\r\n\r\n') + 4)
}

const ttl = { config: { cache: { ttl: 60 } } }

describe('cache poisoning', () => {
  test('an absolute-form target neither plants nor fetches an entry: a handler that forwards it means another resource', async () => {
    const get = await start((app) => app.get('*', ttl, async (request) => `at ${request.raw.url}`))
    await get('http://evil.example/account')
    expect(await get('/account')).toMatchObject({ cache: 'MISS', body: 'at /account' })
    expect(await get('http://evil.example/account')).toMatchObject({ body: 'at http://evil.example/account' })
  })

  test('spellings that a handler can tell apart are other entries', async () => {
    const get = await start((app) => app.get('*', ttl, async (request) => `at ${request.raw.url}`))
    const spellings = [
      '/a/b',
      '/a//b',
      '/a/./b',
      '/a/x/../b',
      '/a%2Fb',
      '/a;b',
      '/a/b/',
      '/A/b',
      '/a\\b',
      '/a%5Cb',

      '/a/b%3F',
      '/a/b%00',
    ]
    for (const spelling of spellings) {
      const { status, cache, body } = await get(spelling)
      const served = { spelling, cache: 'MISS', body: `at ${spelling}` }
      expect(status === 200 ? { spelling, cache, body } : served).toEqual(served)
    }
  })

  test('a field that nobody keys and a handler reflects is refused where the route names it', async () => {
    const handler = async (request: { host: string }) => `<script src="//${request.host}/app.js">`
    const options = { config: { cache: { ttl: 60, unkeyedReads: ['x-forwarded-host'] } } }
    const get = await start((app) => app.get('/', options, handler))
    expect((await get('/', { 'x-forwarded-host': 'evil.example' })).cache).toBe('BYPASS')
    expect(await get('/')).toMatchObject({ body: '<script src="//shop.example/app.js">', cache: 'BYPASS' })
    expect(logger.lines.filter((line) => line.includes('it read x-forwarded-host'))).toHaveLength(1)
  })

  test('… or keyed where the route says so', async () => {
    const handler = async (request: { host: string }) => request.host
    const options = { config: { cache: { ttl: 60, vary: 'x-forwarded-host', host: true } } }
    const get = await start((app) => app.get('/', options, handler))
    await get('/', { 'x-forwarded-host': 'evil.example' })
    expect(await get('/')).toMatchObject({ body: 'shop.example', cache: 'MISS' })
    expect(await get('/', { host: 'other.example' })).toMatchObject({ body: 'other.example', cache: 'MISS' })
  })

  test('an error that an odd request provokes is not kept', async () => {
    const get = await start((app) =>
      app.get('/', ttl, async (request, reply) =>
        request.headers['x-odd'] === undefined ? 'fine' : reply.code(400).send('odd'),
      ),
    )
    expect((await get('/', { 'x-odd': '1' })).status).toBe(400)
    await start(() => {})
    expect((await get('/')).body).toBe('fine')
  })

  test('a parameter cannot be smuggled past the key', async () => {
    const get = await start((app) =>
      app.get('/', ttl, async (request) => multiset(new URL(request.raw.url ?? '', 'http://x').searchParams)),
    )
    const name = fc.constantFrom('a', 'b', 'a%26b', 'a%3D', '%61')
    const value = fc.constantFrom('1', '2', '1%262', '', '1;b=2', '+', '%20')
    const query = fc
      .array(fc.tuple(name, value), { minLength: 1, maxLength: 3 })
      .map((pairs) => pairs.map((pair) => pair.join('=')).join('&'))
    await fc.assert(
      fc.asyncProperty(query, async (text) => {
        await get(`/?${text}`)
        expect((await get(`/?${text}`)).body).toBe(multiset(new URLSearchParams(text)))
      }),
      { numRuns: 60 },
    )
  })
})

/** What a query says but for the order of its pairs, which is what the key leaves out. */
function multiset(params: URLSearchParams): string {
  return [...params]
    .map((pair) => JSON.stringify(pair))
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join()
}

describe('cache deception', () => {
  test('a path that looks static is kept no longer than its route says, and not for others', async () => {
    const get = await start((app) =>
      app.get('/account/*', ttl, async (request) => `hello ${request.headers.cookie ?? 'stranger'}`),
    )
    expect(await get('/account/x.css', { cookie: 'victim' })).toMatchObject({ body: 'hello victim', cache: 'BYPASS' })
    expect(await get('/account/x.css')).toMatchObject({ body: 'hello stranger', cache: 'BYPASS' })
  })

  test('cookies that a plugin parsed before the lookup count as read when the handler looks at them', async () => {
    const get = await start((app) => {
      app.decorateRequest('cookies', undefined as never)
      app.addHook('onRequest', async (request) => {
        Object.assign(request, { cookies: { sid: request.headers.cookie } })
      })
      app.get('/', ttl, async (request) => `hello ${(request as unknown as { cookies: { sid: string } }).cookies.sid}`)
    })
    expect((await get('/', { cookie: 'victim' })).cache).toBe('BYPASS')
    expect((await get('/')).cache).toBe('BYPASS')
  })

  test('what a guard put on the request counts as read when the handler looks at it', async () => {
    const get = await start((app) => {
      app.decorateRequest('auth', undefined)
      const guard = async (request: object) => void Object.assign(request, { auth: { name: 'ann' } })
      app.get('/', { ...ttl, preHandler: guard }, async (request) => {
        return `hello ${(request as unknown as { auth: { name: string } }).auth.name}`
      })
      app.get('/open', { ...ttl, preHandler: guard }, async () => 'hello')
    })
    expect(await get('/')).toMatchObject({ body: 'hello ann', cache: 'BYPASS' })
    expect((await get('/')).cache).toBe('BYPASS')
    expect([(await get('/open')).cache, (await get('/open')).cache]).toEqual(['MISS', 'HIT'])
  })

  test('an answer to a request with Authorization is not kept, unless it says that it may be', async () => {
    const get = await start((app) => {
      app.get('/mine', ttl, async () => 'mine')
      app.get('/ours', ttl, async (_, reply) => reply.header('cache-control', 'public, max-age=60').send('ours'))
    })
    const headers = { authorization: 'Bearer x' }
    expect((await get('/mine', headers)).cache).toBe('BYPASS')
    expect((await get('/mine')).cache).toBe('MISS')
    expect((await get('/mine', headers)).cache).toBe('BYPASS')
    expect((await get('/ours', headers)).cache).toBe('MISS')
    expect((await get('/ours', headers)).cache).toBe('HIT')
  })
})
