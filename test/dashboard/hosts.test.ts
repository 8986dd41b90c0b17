import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request as httpRequest, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import express, { type RequestHandler } from 'express'
import express4 from 'express4'
import Koa from 'koa'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { dashboard, type GuardVerdict } from '../../src/dashboard/index.js'
import { silentLogger } from '../support/logger.js'
import { MOUNTS, type Mount, type Mounted, PATH } from './mounts.js'

/** Answers of a guard that let nobody in. */
const REFUSALS: readonly (() => unknown)[] = [
  () => false,
  () => undefined,
  () => null,
  () => 'write',
  () => 1,
  () => ({ allowed: true }),
  async () => false,
  async () => 'yes',
  () => {
    throw new Error('no database')
  },
  () => Promise.reject(new Error('no database')),
]

/** Everything that the page answers, and ways to write it. */
const PATHS = [
  ...['', '/', '/index.html', '/main.js', '/style.css', '/licences.txt', '//main.js', '/a/b/main.js', '/none.js'],
  ...['about', 'health', 'history', 'entries', 'entry?key=value::a', 'body?key=value::a', 'groups', 'limits', 'doctor']
    .concat(['sessions?subject=1', 'explain?url=/', 'live', 'evict', 'reset-limit', 'revoke-session', 'none'])
    .map((name) => `/api/${name}`),
  ...['/api/about/', '/api//about', '//api/about', '/API/about', '/api%2Fabout', '/%61pi/about', '/api/%61bout'],
  ...['/api/about?x=/public', '/api/about;x', '/./api/about', '/x/../api/about', '/..;/api/about', '/api/about%00'],
  ...['/api/evict?_method=POST&all=true'],
]

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']

/** Methods that the page has no use for are tried on some of its paths. */
const ATTEMPTS = PATHS.flatMap((path, index) =>
  METHODS.filter((method) => index % 4 === 0 || method === 'GET' || method === 'POST').map((method) => [method, path]),
) as [string, string][]

/** What the page itself sends with a change, and fields by which frameworks are told another method, path or host. */
const FIELDS = {
  'content-type': 'application/json',
  'x-redwell': '1',
  'x-http-method-override': 'POST',
  'x-method-override': 'POST',
  'x-original-url': '/public',
  'x-rewrite-url': '/public',
  'x-forwarded-host': 'localhost',
  'x-forwarded-for': '127.0.0.1',
}

/** Words of the page's files, and of what its questions and changes answer. */
const SHOWN = /redwell<\/title>|preact|mayChange|value::a|confirmed|"items"|"findings"|text\/event-stream|"keys"/

const agent = new Agent({ keepAlive: true, maxSockets: 8 })
afterAll(() => agent.destroy())

interface Asked {
  readonly method?: string
  readonly headers?: Record<string, string | string[]>
  readonly body?: string
}

/** The path as it is written: `fetch` would tidy it. */
async function send(
  port: number,
  path: string,
  { method = 'GET', headers, body }: Asked = {},
): Promise<IncomingMessage> {
  const options = { host: '127.0.0.1', port, path, method, agent, headers: headers ?? {} }
  const request = httpRequest(options).end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return response
}

async function ask(
  port: number,
  path: string,
  asked: Asked = {},
): Promise<{ status: number; text: string; all: string }> {
  const response = await send(port, path, asked)
  const content = await text(response)
  return {
    status: response.statusCode ?? 0,
    text: content,
    all: `${response.headers['content-type'] ?? ''}\n${content}`,
  }
}

const ALL = '{"all":true}'

describe.each(Object.entries(MOUNTS))('on %s', (framework, mount: Mount) => {
  let redis: Redis
  let mounted: Mounted
  /** What the guard answers next. */
  let verdict: () => unknown
  let asked = 0

  beforeAll(async () => {
    redis = createRedis({ url: 'memory:', prefix: 'shop', logger: silentLogger })
    mounted = await mount(redis, () => {
      asked += 1
      return verdict() as GuardVerdict
    })
  })
  afterAll(async () => {
    await mounted.close()
    await redis.close()
  })

  /** A change that arrives removes it. */
  const isKept = async (): Promise<boolean> => (await redis.cache.get('a')) === 1

  test('no path and no method opens anything without the guard’s yes', async () => {
    await redis.cache.set('a', 1)
    const open: string[] = []
    const before = asked
    await Promise.all(
      ATTEMPTS.map(async ([method, path], index) => {
        verdict = () => REFUSALS[index % REFUSALS.length]?.()
        const hasBody = !['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(method)
        const headers = hasBody ? { ...FIELDS, 'content-length': String(ALL.length) } : FIELDS
        const answer = await ask(mounted.port, `${PATH}${path}`, { method, headers, ...(hasBody && { body: ALL }) })
        if (answer.status < 400 || SHOWN.test(answer.all)) open.push(`${method} ${path}: ${answer.status}`)
      }),
    )
    expect(open).toEqual([])
    expect(asked).toBeGreaterThan(before + PATHS.length)
    expect(await isKept()).toBe(true)
    expect(mounted.panel.viewers).toBe(0)
  })

  test('with the guard’s yes only GET and POST do what they are for, however the path is written', async () => {
    verdict = () => true
    await redis.cache.set('a', 1)
    for (const method of METHODS.filter((one) => one !== 'POST')) {
      const hasBody = ['PUT', 'DELETE'].includes(method)
      for (const path of ['/api/evict', '/api/evict/', '/api/evict?_method=POST&all=true', '/api/reset-limit'])
        await ask(mounted.port, `${PATH}${path}`, {
          method,
          headers: hasBody ? { ...FIELDS, 'content-length': String(ALL.length) } : FIELDS,
          ...(hasBody && { body: ALL }),
        })
    }
    expect(await isKept()).toBe(true)
    expect(mounted.panel.viewers).toBe(0)
    const { all, status } = await ask(mounted.port, `${PATH}/`)
    expect(status).toBe(200)
    expect(all).toMatch(SHOWN)
  })

  test('while the guard does not answer, nothing is', async () => {
    verdict = () => new Promise(() => {})
    let answered = 0
    const requests = ['/', '/main.js', '/api/about', '/api/live'].map((path) => {
      const request = httpRequest({ host: '127.0.0.1', port: mounted.port, path: `${PATH}${path}` }).end()
      request.on('response', () => (answered += 1)).on('error', () => {})
      return request
    })
    const before = asked
    await expect.poll(() => asked - before).toBe(4)
    verdict = () => true
    // An answer to a later request: those to the earlier ones would have come.
    expect((await ask(mounted.port, `${PATH}/`)).status).toBe(200)
    expect([answered, mounted.panel.viewers]).toEqual([0, 0])
    for (const request of requests) request.destroy()
  })

  test('no other site changes or reads anything, with the operator’s cookie and a copy of all that the page sends', async () => {
    verdict = () => true
    await redis.cache.set('a', 1)
    const host = `127.0.0.1:${mounted.port}`
    const own = { 'content-type': 'application/json', 'x-redwell': '1', cookie: 'session=operator', host }
    const foreign: Record<string, string | string[]>[] = [
      ...['cross-site', 'same-site', '', 'SAME-ORIGIN', 'same-origin, cross-site'].map((site) => ({
        'sec-fetch-site': site,
        origin: `http://${host}`,
      })),
      ...['null', '', 'https://evil.example', `http://${host}.evil.example`, `http://evil.example/${host}`]
        .concat([`http://${host}@evil.example`, `http://127.0.0.1`, 'http://localhost', 'file://', '*'])
        .map((origin) => ({ origin })),
    ]
    const changes: [string, number][] = []
    for (const fields of foreign) {
      const headers = { ...own, ...fields }
      const change = await ask(mounted.port, `${PATH}/api/evict`, { method: 'POST', headers, body: ALL })
      const read = await ask(mounted.port, `${PATH}/api/entries`, { headers })
      const live = await ask(mounted.port, `${PATH}/api/live`, { headers })
      changes.push([JSON.stringify(fields), change.status], ['read', read.status], ['live', live.status])
    }
    expect(changes.filter(([, status]) => status !== 403)).toEqual([])
    // What a form can send, and a fetch that asks nobody: no field of the page's own, or another type.
    const { 'x-redwell': field, ...bare } = own
    for (const headers of [
      bare,
      { ...bare, 'content-type': 'text/plain', 'x-redwell': field },
      { ...bare, 'content-type': 'application/x-www-form-urlencoded' },
      { ...bare, 'content-type': 'text/plain; application/json', 'x-redwell': field },
      { ...own, 'sec-fetch-site': 'none' },
    ])
      expect([403, 415]).toContain(
        (await ask(mounted.port, `${PATH}/api/evict`, { method: 'POST', headers, body: ALL })).status,
      )
    expect([await isKept(), mounted.panel.viewers]).toEqual([true, 0])
    const asks = { origin: 'https://evil.example', 'access-control-request-method': 'POST' }
    const preflight = await send(mounted.port, `${PATH}/api/evict`, { method: 'OPTIONS', headers: asks })
    preflight.resume()
    expect(Object.keys(preflight.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  test('it serves its page, answers, changes and streams', async () => {
    verdict = () => true
    await redis.cache.set('a', 1)
    const { port } = mounted
    const moved = await fetch(`http://127.0.0.1:${port}${PATH}`)
    expect(await moved.text()).toContain('location.replace')
    // Where the framework tells the path below the mount path, nothing but the page is the page.
    const isTold = !['Hono', 'Koa', 'node:http'].includes(framework)
    expect((await ask(port, `${PATH}/?a=/x`)).all).toMatch(/redwell<\/title>.*main\.js|main\.js/s)
    for (const path of ['/x', '/x/', '/x/?a=1']) expect((await ask(port, PATH + path)).status).toBe(isTold ? 404 : 200)
    const file = await send(port, `${PATH}/main.js`, { method: 'HEAD' })
    file.resume()
    expect([file.statusCode, file.headers['content-type']]).toEqual([200, 'text/javascript; charset=utf-8'])
    expect(JSON.parse((await ask(port, `${PATH}/api/about`)).text)).toMatchObject({ prefix: 'shop', mayChange: true })
    const origin = `http://127.0.0.1:${port}`
    const headers = { 'content-type': 'application/json', 'x-redwell': '1', origin, 'sec-fetch-site': 'same-origin' }
    const change = { method: 'POST', headers, body: ALL }
    expect(JSON.parse((await ask(port, `${PATH}/api/evict`, change)).text)).toMatchObject({ confirmed: true })
    expect(await isKept()).toBe(false)
    const live = await send(port, `${PATH}/api/live`)
    const [part] = (await once(live, 'data')) as [Buffer]
    expect([live.headers['content-type'], String(part)]).toEqual([
      'text/event-stream',
      expect.stringContaining('retry'),
    ])
    expect(mounted.panel.viewers).toBe(1)
    live.destroy()
    await expect.poll(() => mounted.panel.viewers).toBe(0)
  })

  test('who may only look changes nothing', async () => {
    verdict = () => 'read'
    await redis.cache.set('a', 1)
    const headers = { 'content-type': 'application/json', 'x-redwell': '1' }
    for (const name of ['evict', 'reset-limit', 'revoke-session', 'revoke-sessions'])
      expect((await ask(mounted.port, `${PATH}/api/${name}`, { method: 'POST', headers, body: ALL })).status).toBe(403)
    expect(await isKept()).toBe(true)
  })
})

test.each(['NestJS on Express', 'NestJS on Fastify'])(
  '%s: prefix, versions and guards of the application are for its routes, the page has its own guard',
  async (name) => {
    const redis = createRedis({ url: 'memory:', prefix: 'shop', logger: silentLogger })
    const mounted = await (MOUNTS[name] as Mount)(
      redis,
      (_, native) => (native as IncomingMessage).socket !== undefined,
    )
    expect((await ask(mounted.port, '/v/v1/shop')).status).toBe(403)
    for (const path of [`${PATH}/`, `${PATH}/api/about`]) expect((await ask(mounted.port, path)).status).toBe(200)
    for (const path of [`/v${PATH}/`, `/v/v1${PATH}/`]) expect((await ask(mounted.port, path)).status).toBe(404)
    await mounted.close()
    await redis.close()
  },
)

test('a server with an open page can close', async () => {
  for (const mount of Object.values(MOUNTS)) {
    const redis = createRedis({ url: 'memory:', logger: silentLogger })
    const { port, close } = await mount(redis, () => true)
    // Not fetch, which opens another connection when one is lost, and the server would wait for that.
    const request = httpRequest({ host: '127.0.0.1', port, path: `${PATH}/api/live`, agent: false }).end()
    const [live] = (await once(request, 'response')) as [IncomingMessage]
    const ended = text(live)
    await close()
    expect(await ended).toContain('retry')
    await redis.close()
  }
})

describe('content that a body parser has read before the page', () => {
  const consume = async (req: IncomingMessage): Promise<void> => {
    for await (const _ of req);
  }
  const PARSERS: Readonly<Record<string, RequestHandler>> = {
    json: express.json(),
    raw: express.raw({ type: '*/*' }),
    text: express.text({ type: '*/*' }),
    'one of another type': express4.urlencoded({ extended: false }) as never,
  }
  const evict = async (handler: RequestListener): Promise<{ status: number; content: unknown }> => {
    const server = createServer(handler).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const fields = { 'content-type': 'application/json', 'x-redwell': '1' }
    const said = await send(port, '/ops/api/evict', { method: 'POST', headers: fields, body: '{"group":"g"}' })
    const content: unknown = JSON.parse(await text(said))
    server.close()
    return { status: said.statusCode ?? 0, content }
  }
  const panelOf = () => {
    const redis = createRedis({ url: 'memory:', logger: silentLogger })
    onTestFinished(() => redis.close())
    return dashboard(redis, { guard: () => true })
  }

  test.each(Object.keys(PARSERS))('%s: the change is made', async (name) => {
    const app = express().use(PARSERS[name] as RequestHandler)
    const said = await evict(app.use('/ops', panelOf().node))
    expect(said).toMatchObject({ status: 200, content: { confirmed: true } })
  })

  test('where it is left nowhere the answer names the cause', async () => {
    const panel = panelOf()
    const app = new Koa().use(async (ctx) => {
      await consume(ctx.req)
      ctx.respond = false
      panel.node(ctx.req, ctx.res)
    })
    const answer = app.callback()
    const said = await evict((req, res) => void answer(req, res))
    expect(said).toMatchObject({ status: 400, content: { problem: expect.stringMatching(/body parser/) } })
  })
})
