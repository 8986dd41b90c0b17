import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request as send, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'

/** Starting a process takes seconds where others compute at the same time. */
const PATIENCE_MS = 60_000

const FOLDER = fileURLToPath(new URL('../../examples/reverse-proxy/', import.meta.url))
const VARIANTS = { fastify: 'server.ts', hono: 'hono.ts' } as const
type Variant = keyof typeof VARIANTS

interface Seen {
  readonly method: string
  readonly target: string
  readonly lines: string[]
  readonly body: Buffer
}

/** An upstream that notes what it is sent, and answers as the test says. */
class Upstream {
  readonly seen: Seen[] = []
  answer: RequestListener = (_, response) => void response.end('hello')
  readonly #server: Server = createServer((request, response) => void this.#serve(request, response))

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #serve(...[request, response]: Parameters<RequestListener>): Promise<void> {
    const body = await buffer(request)
    this.seen.push({ method: request.method ?? '', target: request.url ?? '', lines: request.rawHeaders, body })
    this.answer(request, response)
  }
}

const children = new Set<ChildProcess>()

afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

class Proxy {
  readonly child: ChildProcess
  readonly port: number

  constructor(child: ChildProcess, port: number) {
    this.child = child
    this.port = port
  }

  static async start(variant: Variant, env: Record<string, string>): Promise<Proxy> {
    const child = spawn(process.execPath, ['--import', 'tsx', FOLDER + VARIANTS[variant]], {
      env: { ...process.env, TSX_TSCONFIG_PATH: `${FOLDER}tsconfig.json`, HOST: '127.0.0.1', PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.add(child)
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line.toString())?.[1]
    return new Proxy(child, Number(port))
  }

  async stop(): Promise<number | null> {
    const exited = once(this.child, 'exit')
    this.child.kill('SIGTERM')
    const [code] = (await exited) as [number | null]
    children.delete(this.child)
    return code
  }

  /** Sends header lines as they are given; Node adds its own `Connection` only. */
  ask(target: string, { method = 'GET', lines = [], body }: Asked = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = ['Host', 'example.com', ...lines.flat()]
      const request = send({ host: '127.0.0.1', port: this.port, method, path: target, headers, agent: false })
      const interim: Answer['interim'] = []
      request.on('information', ({ statusCode, headers: fields }) => interim.push([statusCode, fields['link']]))
      request.once('error', reject)
      request.once('response', (response) => void answerOf(response, interim).then(resolve, reject))
      request.end(body)
    })
  }
}

interface Asked {
  method?: string
  lines?: [string, string][]
  body?: Buffer | string
}

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly raw: string[]
  readonly body: Buffer
  readonly interim: [status: number, link: unknown][]
}

async function answerOf(response: IncomingMessage, interim: Answer['interim']): Promise<Answer> {
  const { statusCode = 0, headers, rawHeaders: raw } = response
  return { status: statusCode, headers, raw, body: await buffer(response), interim }
}

/** Lines of some names, in order. */
function linesOf(raw: readonly string[], ...names: string[]): [string, string][] {
  return raw.flatMap((text, index) =>
    index % 2 === 0 && names.includes(text.toLowerCase()) ? [[text, raw[index + 1] as string] as [string, string]] : [],
  )
}

let upstream: Upstream

beforeAll(async () => {
  upstream = await new Upstream().listen()
})

afterAll(() => upstream.close())

const shared = new Map<Variant, Promise<Proxy>>()

/** Started once for each variant: a process takes most of a second. */
function onMemory(variant: Variant): Promise<Proxy> {
  const env = { UPSTREAM_URL: upstream.url, REDIS_URL: 'memory:', PRESET: 'rfc9111' }
  const proxy = shared.get(variant) ?? Proxy.start(variant, env)
  shared.set(variant, proxy)
  return proxy
}

let path: string

beforeEach(({ task }) => {
  upstream.seen.length = 0
  path = `/${encodeURIComponent(task.id)}`
})

afterEach(() => {
  upstream.answer = (_, response) => void response.end('hello')
})

describe.each(Object.keys(VARIANTS) as Variant[])('%s: what passes', (variant) => {
  let proxy: Proxy

  beforeAll(async () => {
    proxy = await onMemory(variant)
  }, PATIENCE_MS)

  test('the upstream sees the client’s header lines, raw, in order, repeated ones kept, and nothing else', async () => {
    const lines: [string, string][] = [
      ['X-Trace', 'one'],
      ['aCCept', 'text/plain'],
      ['x-trace', 'two'],
      ['Cookie', 'a=1'],
      ['Authorization', 'Basic eA=='],
      ['Range', 'bytes=0-1'],
      ['Cache-Control', 'no-store'],
    ]
    await proxy.ask(path, { lines })
    expect(upstream.seen[0]).toMatchObject({ method: 'GET', target: path })
    expect(upstream.seen[0]?.lines).toEqual(['Host', 'example.com', ...lines.flat(), 'Connection', 'close'])
  })

  test('RFC 9110 7.6.1: fields of the connection stay behind, in both directions', async () => {
    upstream.answer = (_, response) => {
      response.writeHead(200, ['Connection', 'close, X-Hop', 'X-Hop', '1', 'Keep-Alive', 'timeout=7', 'X-End', '2'])
      response.end()
    }
    const hops: [string, string][] = [
      ['Connection', 'close, x-hop'],
      ['X-Hop', '1'],
      ['Keep-Alive', 'timeout=1'],
      ['TE', 'trailers'],
      ['Proxy-Authorization', 'Basic eA=='],
    ]
    const { raw, headers } = await proxy.ask(path, { lines: [...hops, ['X-End', '1']] })
    const names = (upstream.seen[0] as Seen).lines.filter((_, index) => index % 2 === 0)
    expect(names).toEqual(['Host', 'X-End', 'Connection'])
    expect(linesOf(raw, 'x-hop')).toEqual([])
    expect(headers['x-end']).toBe('2')
    expect(headers['keep-alive']).not.toBe('timeout=7')
  })

  test.each(['/%zz', '//a//b?', '/%2e%2e/x', '/a?b=c&b=%20&&', "/;'()[]|"])(
    'the target %s is sent as it is',
    async (target) => {
      await proxy.ask(target)
      expect(upstream.seen[0]?.target).toBe(target)
    },
  )

  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'M-SEARCH'])(
    '%s: content goes through byte for byte',
    async (method) => {
      const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 256))
      upstream.answer = (_, response) => void response.end(upstream.seen[0]?.body)
      const lines: [string, string][] = [
        ['Content-Type', 'not a media type'],
        ['Content-Length', String(bytes.length)],
      ]
      const { body } = await proxy.ask(path, { method, lines, body: bytes })
      expect(upstream.seen[0]?.method).toBe(method)
      // Not toEqual, which takes half a second for each.
      expect(upstream.seen[0]?.body.equals(bytes)).toBe(true)
      expect(linesOf(upstream.seen[0]?.lines ?? [], 'content-type', 'content-length', 'transfer-encoding')).toEqual(
        lines,
      )
      expect(body.equals(bytes)).toBe(true)
    },
  )

  test('content of unknown length and a request without content keep what they are', async () => {
    await proxy.ask(path, { method: 'PUT', lines: [['Transfer-Encoding', 'chunked']], body: 'some' })
    await proxy.ask(path, { method: 'OPTIONS' })
    expect(upstream.seen.map(({ body }) => body.toString())).toEqual(['some', ''])
    expect(linesOf(upstream.seen[1]?.lines ?? [], 'content-length', 'transfer-encoding')).toEqual([])
  })

  test('the client sees the upstream’s status, header lines and bytes', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 200])
    upstream.answer = (_, response) => {
      const lines = ['Set-Cookie', 'a=1', 'Link', '</a>', 'Set-Cookie', 'b=2', 'Link', '</b>', 'Date', 'today']
      response.writeHead(418, ['Content-Type', 'x/y', 'Content-Length', '5', ...lines]).end(bytes)
    }
    const { status, raw, headers, body } = await proxy.ask(path)
    expect([status, body]).toEqual([418, bytes])
    expect(headers).toMatchObject({ 'content-type': 'x/y', 'content-length': '5', date: 'today' })
    expect(linesOf(raw, 'set-cookie').map(([, value]) => value)).toEqual(['a=1', 'b=2'])
    // A Response knows lines of Set-Cookie apart, and joins all others (RFC 9110 section 5.3).
    const links = variant === 'hono' ? ['</a>, </b>'] : ['</a>', '</b>']
    expect(linesOf(raw, 'link').map(([, value]) => value)).toEqual(links)
  })

  test('a response without Content-Type and ETag gets none, on a miss and on a hit', async () => {
    upstream.answer = (_, response) => void response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end('x')
    const answers = [await proxy.ask(path), await proxy.ask(path)]
    expect(answers.map(({ headers }) => headers['x-redis-cache'])).toEqual(['MISS', 'HIT'])
    for (const { headers } of answers) expect([headers['content-type'], headers.etag]).toEqual([undefined, undefined])
  })

  test('HEAD has the length that the upstream says, and no content', async () => {
    upstream.answer = (_, response) => void response.writeHead(200, { 'Content-Length': '12345' }).end()
    const { headers, body } = await proxy.ask(path, { method: 'HEAD' })
    expect([upstream.seen[0]?.method, headers['content-length'], body.length]).toEqual(['HEAD', '12345', 0])
  })

  test('RFC 9110 15.2: early hints reach the client and are not part of what is stored', async () => {
    upstream.answer = (_, response) => {
      response.writeEarlyHints({ link: '</s.css>; rel=preload; as=style' })
      response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end()
    }
    const [first, second] = [await proxy.ask(path), await proxy.ask(path)]
    expect(first.interim).toEqual([[103, '</s.css>; rel=preload; as=style']])
    expect(second).toMatchObject({ interim: [], headers: { 'x-redis-cache': 'HIT' } })
    expect(second.headers['link']).toBeUndefined()
  })

  test('content is passed on while it is made', async () => {
    let finish = (): void => {}
    upstream.answer = (_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: 1\n\n')
      finish = () => void response.end()
    }
    const socket = connect(proxy.port, '127.0.0.1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: example.com\r\n\r\n`)
    let text = ''
    for await (const chunk of socket) {
      text += String(chunk)
      if (text.includes('data: 1')) break
    }
    finish()
    expect(text).toContain('text/event-stream')
  })
})

describe.each(Object.keys(VARIANTS) as Variant[])('%s: an upstream that fails', (variant) => {
  let proxy: Proxy

  beforeAll(async () => {
    proxy = await onMemory(variant)
  }, PATIENCE_MS)

  test('a dropped connection is a 502, and the request was sent once', async () => {
    upstream.answer = (request) => void request.socket.destroy()
    expect((await proxy.ask(path)).status).toBe(502)
    expect((await proxy.ask(path, { method: 'POST', lines: [['Content-Length', '1']], body: 'x' })).status).toBe(502)
    expect(upstream.seen.map(({ method }) => method)).toEqual(['GET', 'POST'])
  })

  test('RFC 9111 3.3: a body that ends early is neither completed nor stored', async () => {
    upstream.answer = (_, response) => {
      response.writeHead(200, { 'Cache-Control': 'max-age=60', 'Content-Length': '10' }).write('part')
      setImmediate(() => response.destroy())
    }
    await expect(proxy.ask(path)).rejects.toThrow()
    upstream.answer = (_, response) => void response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end('whole')
    const { headers, body } = await proxy.ask(path)
    expect([headers['x-redis-cache'], body.toString()]).toEqual(['MISS', 'whole'])
  })

  test('RFC 9111 5.2.2.2: what must be revalidated is a 504 while it cannot be', async () => {
    upstream.answer = (_, response) =>
      void response.writeHead(200, { 'Cache-Control': 'max-age=0, must-revalidate', 'Last-Modified': DAY }).end('old')
    await proxy.ask(path)
    upstream.answer = (request) => void request.socket.destroy()
    expect((await proxy.ask(path)).status).toBe(504)
  })

  test('RFC 5861 4: with stale-if-error the stored response stands in, as itself', async () => {
    upstream.answer = (_, response) =>
      void response.writeHead(200, { 'Cache-Control': 'max-age=0, stale-if-error=60', 'X-A': '1' }).end('old')
    await proxy.ask(path)
    upstream.answer = (_, response) => void response.writeHead(503).end('down')
    expect(await proxy.ask(path)).toMatchObject({ status: 200, body: Buffer.from('old'), headers: { 'x-a': '1' } })
    upstream.answer = (request) => void request.socket.destroy()
    expect((await proxy.ask(path)).body.toString()).toBe('old')
  })
})

const DAY = 'Sat, 01 Jan 2022 00:00:00 GMT'

describe.each(Object.keys(VARIANTS) as Variant[])('%s: rfc9111 on Redis', (variant) => {
  let proxy: Proxy

  beforeAll(async () => {
    proxy = await Proxy.start(variant, {
      ...{ UPSTREAM_URL: upstream.url, REDIS_URL: inject('redisUrl'), PRESET: 'rfc9111' },
      // On a busy machine the default deadline makes an outage of a slow turn.
      COMMAND_TIMEOUT_MS: '5000',
    })
  }, PATIENCE_MS)

  afterAll(() => proxy.stop())

  const cached = async (target: string, lines: [string, string][] = []) =>
    (await proxy.ask(target, { lines })).headers['x-redis-cache']

  test('keeps what the upstream allows, as long as it allows it, and nothing else', async () => {
    expect([await cached(`${path}/no`), await cached(`${path}/no`)]).toEqual(['BYPASS', 'BYPASS'])
    upstream.answer = (_, response) => void response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end()
    expect([await cached(path), await cached(path), await cached(`${path}?x`)]).toEqual(['MISS', 'HIT', 'MISS'])
    expect(await cached(path, [['Cache-Control', 'no-cache']])).toBe('MISS')
  })

  test('hosts do not share', async () => {
    upstream.answer = (request, response) =>
      void response.writeHead(200, { 'Cache-Control': 'max-age=60', 'Content-Length': '3' }).end(request.headers.host)
    const ask = async (host: string): Promise<string> => {
      const socket = connect(proxy.port, '127.0.0.1')
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
      return (await buffer(socket)).toString().split('\r\n\r\n')[1] as string
    }
    expect([await ask('one'), await ask('two'), await ask('one')]).toEqual(['one', 'two', 'one'])
    expect(upstream.seen).toHaveLength(2)
  })

  test('RFC 9111 4.3: a stale response is validated with the upstream, and its fields are updated', async () => {
    upstream.answer = (request, response) => {
      const fields = { ETag: '"v1"', 'Cache-Control': 'max-age=0', 'X-Run': String(upstream.seen.length) }
      if (request.headers['if-none-match'] === '"v1"') response.writeHead(304, fields).end()
      else response.writeHead(200, fields).end('content')
    }
    await proxy.ask(path)
    const second = await proxy.ask(path)
    expect(second).toMatchObject({ status: 200, body: Buffer.from('content'), headers: { 'x-run': '2' } })
    expect(linesOf(upstream.seen[1]?.lines ?? [], 'if-none-match', 'if-modified-since')).toHaveLength(1)
    const third = await proxy.ask(path, { lines: [['If-None-Match', '"v1"']] })
    expect([third.status, third.body.length]).toEqual([304, 0])
  })

  test('RFC 9111 4.4: an unsafe method invalidates, also its Location; a failed one and OPTIONS do not', async () => {
    const fresh = { 'Cache-Control': 'max-age=60' }
    upstream.answer = (request, response) => {
      if (request.method === 'PUT') response.writeHead(500).end()
      else if (request.method === 'POST') response.writeHead(201, { Location: `${path}/made` }).end()
      else response.writeHead(200, fresh).end()
    }
    await cached(path)
    await cached(`${path}/made`)
    await proxy.ask(path, { method: 'PUT' })
    await proxy.ask(path, { method: 'OPTIONS' })
    expect([await cached(path), await cached(`${path}/made`)]).toEqual(['HIT', 'HIT'])
    await proxy.ask(path, { method: 'POST' })
    expect([await cached(path), await cached(`${path}/made`)]).toEqual(['MISS', 'MISS'])
  })

  test('RFC 9110 9.3.3: a POST that says it is the GET of its own URI is stored as that; one that fails changes nothing', async () => {
    upstream.answer = (request, response) => {
      if (request.headers['x-fail'] !== undefined) response.writeHead(500).end()
      else response.writeHead(200, { 'Cache-Control': 'max-age=60', 'Content-Location': path }).end('posted')
    }
    await proxy.ask(path, { method: 'POST', lines: [['Content-Length', '1']], body: 'x' })
    await proxy.ask(path, { method: 'POST', lines: [['X-Fail', '1']] })
    expect(await proxy.ask(path)).toMatchObject({ body: Buffer.from('posted'), headers: { 'x-redis-cache': 'HIT' } })
  })

  test('RFC 9213 2.2: what is said to gateways alone counts for this one, and is passed on', async () => {
    const fields = { 'Cache-Control': 'no-store', 'CDN-Cache-Control': 'max-age=60' }
    upstream.answer = (_, response) => void response.writeHead(200, fields).end()
    await proxy.ask(path)
    const { headers } = await proxy.ask(path)
    expect(headers).toMatchObject({
      'x-redis-cache': 'HIT',
      'cdn-cache-control': 'max-age=60',
      'cache-control': 'no-store',
    })
  })

  test('a failure that says how long it lasts is kept that long', async () => {
    upstream.answer = (_, response) => void response.writeHead(503, { 'Cache-Control': 'max-age=60' }).end('down')
    expect([await cached(path), await cached(path)]).toEqual(['MISS', 'HIT'])
  })

  test('Cache-Status says what happened', async () => {
    upstream.answer = (_, response) => void response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end()
    const first = await proxy.ask(path)
    const second = await proxy.ask(path)
    expect(first.headers['cache-status']).toBe('redwell; fwd=uri-miss; stored')
    expect(second.headers['cache-status']).toMatch(/^redwell; hit; ttl=(59|60)$/)
    expect((await proxy.ask(path, { method: 'POST' })).headers['cache-status']).toMatch(/^redwell; fwd=method/)
  })
})

describe.each(Object.keys(VARIANTS) as Variant[])('%s: its life', (variant) => {
  test(
    'app keeps GETs; SIGTERM lets an answer finish and ends it',
    async () => {
      const env = { UPSTREAM_URL: upstream.url, REDIS_URL: 'memory:', PRESET: 'app' }
      const proxy = await Proxy.start(variant, env)
      upstream.answer = (_, response) => void response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end('x')
      expect((await proxy.ask(path)).headers['x-redis-cache']).toBe('MISS')
      expect((await proxy.ask(path)).headers['x-redis-cache']).toBe('HIT')
      expect((await proxy.ask(path, { method: 'POST' })).headers['x-redis-cache']).not.toBe('HIT')
      let finish = (): void => {}
      const begun = new Promise<void>((resolve) => {
        upstream.answer = (_, response) => {
          finish = () => void response.end('last')
          resolve()
        }
      })
      const last = proxy.ask(`${path}/last`)
      await begun
      const stopped = proxy.stop()
      finish()
      expect((await last).body.toString()).toBe('last')
      expect(await stopped).toBe(0)
    },
    PATIENCE_MS,
  )
})
