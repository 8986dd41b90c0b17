import { createHash } from 'node:crypto'
import { runInNewContext } from 'node:vm'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { buildShop } from '../operate/shop.js'
import { basicAuth, dashboard, type DashboardOptions } from '../../src/dashboard/index.js'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { recordingLogger, silentLogger } from '../support/logger.js'

function open(): Redis {
  const redis = createRedis({ url: 'memory:', prefix: 'shop', logger: silentLogger })
  onTestFinished(() => redis.close())
  return redis
}

const ORIGIN = 'https://shop.example'

/** What the page itself sends with a change. */
const OWN = {
  'content-type': 'application/json',
  'x-redwell': '1',
  'sec-fetch-site': 'same-origin',
  origin: ORIGIN,
  host: 'shop.example',
}

function post(name: string, content: unknown, headers: Record<string, string> = OWN): Request {
  return new Request(`${ORIGIN}/ops/api/${name}`, { method: 'POST', headers, body: JSON.stringify(content) })
}

function get(path: string, headers: Record<string, string> = {}): Request {
  return new Request(`${ORIGIN}/ops/${path}`, { headers })
}

const EVERYBODY: DashboardOptions = { guard: () => true }

describe('the guard', () => {
  test('a dashboard without one is refused, and so is a misspelt one', () => {
    const redis = open()
    for (const options of [undefined, {}, { guard: true }, { gaurd: () => true }])
      expect(() => dashboard(redis, options as never)).toThrow(/guard/)
  })

  test('a dashboard of nothing is refused at once', () => {
    for (const redis of [undefined, null, {}])
      expect(() => dashboard(redis as never, EVERYBODY)).toThrow(/redis: .*createRedis/)
  })

  test('is asked for every file and every question, and no answer of it but true and read opens anything', async () => {
    const redis = open()
    for (const verdict of [false, undefined, null, 0, 1, 'yes', 'write', {}, []]) {
      const panel = dashboard(redis, { guard: () => verdict as never })
      for (const path of ['', 'main.js', 'style.css', 'api/about', 'api/live', 'api/entries', 'api/none', '../ops'])
        expect((await panel.fetch(get(path))).status).toBe(403)
      expect((await panel.fetch(post('evict', { all: true }))).status).toBe(403)
    }
  })

  test('one that throws or rejects refuses', async () => {
    const logger = recordingLogger()
    const redis = createRedis({ url: 'memory:', logger })
    onTestFinished(() => redis.close())
    const fail = (): never => {
      throw new Error('no database')
    }
    for (const guard of [fail, async () => fail()])
      expect((await dashboard(redis, { guard }).fetch(get(''))).status).toBe(403)
    expect(logger.lines.join()).toContain('no database')
  })

  test('a response of its own is the answer', async () => {
    const panel = dashboard(open(), { guard: () => Response.redirect(`${ORIGIN}/login`, 302) })
    expect((await panel.fetch(get(''))).headers.get('location')).toBe(`${ORIGIN}/login`)
  })

  test('who may only look changes nothing', async () => {
    const redis = open()
    await redis.cache.set('a', 1)
    const panel = dashboard(redis, { guard: () => 'read' })
    expect(await (await panel.fetch(get('api/about'))).json()).toMatchObject({ mayChange: false })
    for (const [name, content] of [
      ['evict', { all: true }],
      ['reset-limit', { key: 'a' }],
      ['revoke-sessions', { subject: '1' }],
    ] as const)
      expect((await panel.fetch(post(name, content))).status).toBe(403)
    expect(await redis.cache.get('a')).toBe(1)
  })

  test('name and password', async () => {
    const panel = dashboard(open(), { guard: basicAuth({ username: 'ops', password: 'pässword:1' }) })
    const as = (text: string) =>
      panel.fetch(get('', { authorization: `Basic ${Buffer.from(text).toString('base64')}` }))
    expect((await as('ops:pässword:1')).status).toBe(200)
    for (const wrong of ['ops:', 'ops:pässword', 'Ops:pässword:1', '', ':']) expect((await as(wrong)).status).toBe(401)
    const asked = await panel.fetch(get(''))
    expect([asked.status, asked.headers.get('www-authenticate')]).toEqual([
      401,
      'Basic realm="redwell", charset="UTF-8"',
    ])
    expect(() => basicAuth({ username: 'ops', password: '' })).toThrow(TypeError)
    // A browser would sign in as `a`.
    expect(() => basicAuth({ username: 'a:b', password: 'x' })).toThrow(/colon/)
  })
})

describe('other sites', () => {
  test('cannot change anything', async () => {
    const redis = open()
    await redis.cache.set('a', 1)
    const panel = dashboard(redis, EVERYBODY)
    const { 'x-redwell': _, ...withoutField } = OWN
    const { 'sec-fetch-site': __, ...oldBrowser } = OWN
    const attacks: Record<string, string>[] = [
      withoutField,
      { ...OWN, 'content-type': 'text/plain' },
      { ...OWN, 'content-type': 'application/x-www-form-urlencoded' },
      { ...OWN, 'sec-fetch-site': 'cross-site' },
      { ...OWN, 'sec-fetch-site': 'same-site' },
      { ...OWN, 'sec-fetch-site': 'none' },
      { ...oldBrowser, origin: 'https://evil.example' },
      { ...oldBrowser, origin: 'https://shop.example.evil.example' },
      { ...oldBrowser, origin: 'null' },
    ]
    for (const headers of attacks) expect((await panel.fetch(post('evict', { all: true }, headers))).status).toBe(403)
    expect(await redis.cache.get('a')).toBe(1)
    expect((await panel.fetch(get('api/evict?all=true'))).status).toBe(404)
    const preflight = await panel.fetch(new Request(`${ORIGIN}/ops/api/evict`, { method: 'OPTIONS' }))
    expect([...preflight.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
    for (const headers of [OWN, oldBrowser])
      expect((await panel.fetch(post('evict', { all: true }, headers))).status).toBe(200)
    expect(await redis.cache.get('a')).toBeUndefined()
  })

  test('cannot read, frame or script', async () => {
    const panel = dashboard(open(), EVERYBODY)
    expect((await panel.fetch(get('api/entries', { 'sec-fetch-site': 'cross-site' }))).status).toBe(403)
    expect((await panel.fetch(get('api/live', { origin: 'https://evil.example', host: 'shop.example' }))).status).toBe(
      403,
    )
    for (const path of ['', 'main.js', 'api/about', 'nowhere.js']) {
      const { headers } = await panel.fetch(get(path))
      const policy = headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toMatch(/unsafe|\*|https?:/)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
    }
  })
})

describe('files', () => {
  test('the page has nothing inline and nothing from elsewhere, and works under any path', async () => {
    const panel = dashboard(open(), EVERYBODY)
    const page = await (await panel.fetch(get(''))).text()
    expect(page).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|https?:\/\//)
    const links = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = '']) => link)
    for (const link of links) expect(link).toMatch(/^[a-z.-]+$/)
    for (const link of [...links, 'htm-preact.js', 'panels.js', 'licences.txt'])
      expect((await panel.fetch(get(link))).status).toBe(200)
    for (const path of ['a/b/c/ops/', 'api/'])
      expect((await panel.fetch(new Request(`${ORIGIN}/${path}`))).headers.get('content-type')).toContain('text/html')
  })

  test('it can be mounted below a path that ends in /api', async () => {
    const panel = dashboard(open(), EVERYBODY)
    const typeOf = async (path: string): Promise<string | null> =>
      (await panel.fetch(new Request(`${ORIGIN}/ops${path}`))).headers.get('content-type')
    for (const mount of ['/api', '/api/api']) {
      expect(await typeOf(`${mount}/`)).toContain('text/html')
      expect(await typeOf(`${mount}/main.js`)).toContain('text/javascript')
      expect(await typeOf(`${mount}/api/about`)).toContain('application/json')
    }
  })

  test('it can be mounted as any name below /api', async () => {
    const panel = dashboard(open(), EVERYBODY)
    const opened = { accept: 'text/html,*/*', 'sec-fetch-mode': 'navigate' }
    for (const [path, headers] of [
      ['/api/ops', {}],
      ['/api/ops/', {}],
      ['/api/live', opened],
      ['/v1/api/entries', opened],
      ['/v1/api/entries/', opened],
    ] as const) {
      const response = await panel.fetch(new Request(ORIGIN + path, { headers }))
      expect([path, response.status, response.headers.get('content-type')]).toEqual([
        ...[path, 200],
        'text/html; charset=utf-8',
      ])
    }
    expect(await (await panel.fetch(new Request(`${ORIGIN}/api/live/api/about`))).json()).toMatchObject({
      kind: 'memory',
    })
    expect((await panel.fetch(new Request(`${ORIGIN}/api/ops/api/evict`))).status).toBe(404)
  })

  test('a mount path without its slash leads to the one with it', async () => {
    const moved = await dashboard(open(), EVERYBODY).fetch(new Request(`${ORIGIN}/admin/ops`))
    expect([moved.status, moved.headers.get('location')]).toEqual([200, null])
    const [, script = ''] = /<script>(.*)<\/script>/.exec(await moved.text()) ?? []
    const digest = createHash('sha256').update(script).digest('base64')
    expect(moved.headers.get('content-security-policy')).toContain(`script-src 'sha256-${digest}';`)
    // A proxy may have renamed the path: what counts is the address that the browser has.
    let address = ''
    const replace = (to: string): void => void (address = to)
    runInNewContext(script, { location: { pathname: '/team/cache', search: '?a=1', hash: '#/groups', replace } })
    expect(address).toBe('/team/cache/?a=1#/groups')
  })

  test('files are validated, answers to questions never kept', async () => {
    const panel = dashboard(open(), EVERYBODY)
    const first = await panel.fetch(get('main.js'))
    const etag = first.headers.get('etag') ?? ''
    expect((await panel.fetch(get('main.js', { 'if-none-match': etag }))).status).toBe(304)
    expect((await panel.fetch(get('api/about'))).headers.get('cache-control')).toBe('no-store')
    for (const path of ['__proto__', 'constructor.js', 'api/constructor', 'api/__proto__', 'vendor%2Fhtm-preact.js'])
      expect(await (await panel.fetch(get(path))).text()).toMatch(/location\.replace|Not found/)
  })
})

test('questions and changes, and what is wrong with them', async () => {
  const redis = open()
  await redis.cache.set('a', { b: 1 }, { group: 'g' })
  const panel = dashboard(redis, EVERYBODY)
  const ask = async (path: string) => (await panel.fetch(get(`api/${path}`))).json()
  const key = 'value::a'
  expect(await ask('entries?search=value')).toMatchObject({ items: [{ key, state: 'fresh' }], cursor: null })
  expect(await ask(`entry?key=${key}`)).toMatchObject({ kind: 'value', groups: [{ kind: 'prefix' }, { name: 'g' }] })
  expect(await ask(`body?key=${key}`)).toMatchObject({ text: '{\n  "b": 1\n}' })
  expect(await ask('groups')).toMatchObject({ items: [{ name: 'g' }] })
  expect(await ask('health')).toMatchObject({ status: 'ready', topology: 'memory' })
  expect((await panel.fetch(get('api/entry?key=none'))).status).toBe(404)
  expect((await panel.fetch(get('api/entries?limit=1e9'))).status).toBe(400)
  for (const content of [{}, { group: 1 }, { group: '' }, { soft: true }, { group: 'none', all: true }, { per: 'ada' }])
    expect((await panel.fetch(post('evict', content))).status).toBe(400)
  const narrowed = await panel.fetch(post('evict', { group: 'g', per: 'ada' }))
  expect([narrowed.status, await narrowed.text()]).toEqual([400, expect.stringMatching(/"per: .*group/)])
  expect(await ask(`entry?key=${key}`)).toMatchObject({ state: 'fresh' })
  expect((await panel.fetch(post('evict', null))).status).toBe(400)
  expect((await panel.fetch(post('nothing', {}))).status).toBe(404)
  expect(await (await panel.fetch(post('evict', { group: 'g' }))).json()).toMatchObject({ confirmed: true })
  expect(await ask(`entry?key=${key}`)).toMatchObject({ state: 'invalid' })
})

test('an error that is not redwell’s says nothing about itself', async () => {
  const redis = open()
  Object.assign(redis.history, { read: () => Promise.reject(new Error('secret')) })
  const answer = await dashboard(redis, EVERYBODY).fetch(get('api/history'))
  expect([answer.status, await answer.text()]).toEqual([500, expect.not.stringContaining('secret')])
})

describe('live', () => {
  test('pages share one feed, which runs only while one of them is open', async () => {
    const redis = open()
    const panel = dashboard(redis, EVERYBODY)
    await redis.cache.get('a')
    const streams = await Promise.all([panel.fetch(get('api/live')), panel.fetch(get('api/live'))])
    expect(streams[0]?.headers.get('content-type')).toBe('text/event-stream')
    const readers = streams.map(({ body }) => (body as ReadableStream<Uint8Array>).getReader())
    expect(panel.viewers).toBe(2)
    for (const reader of readers)
      expect(await eventOf(reader, 'state')).toMatchObject({ totals: { all: { lookups: 1 } } })
    await readers[0]?.cancel()
    expect(panel.viewers).toBe(1)
    panel.close()
    expect(panel.viewers).toBe(0)
    const rest = readers[1] as ReadableStreamDefaultReader<Uint8Array>
    while (!(await rest.read()).done);
    const late = await panel.fetch(get('api/live'))
    expect([late.status, await late.text(), panel.viewers]).toEqual([200, 'retry: 2000\n\n', 0])
  })
})

test('a stream ends after five minutes, so that the guard is asked again', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  let verdict = true
  const panel = dashboard(open(), { guard: () => verdict })
  const stream = await panel.fetch(get('api/live'))
  const content = stream.text()
  await vi.advanceTimersByTimeAsync(299_000)
  expect(panel.viewers).toBe(1)
  verdict = false
  await vi.advanceTimersByTimeAsync(1000)
  expect(panel.viewers).toBe(0)
  expect(await content).toMatch(/retry: 50\n\n$/)
  expect((await panel.fetch(get('api/live'))).status).toBe(403)
})

/** The data of the next event with this name. */
async function eventOf(reader: ReadableStreamDefaultReader<Uint8Array>, name: string): Promise<unknown> {
  let text = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`The stream ended without ${name}:\n${text}`)
    text += Buffer.from(value).toString()
    const found = new RegExp(`event: ${name}\ndata: (.*)\n\n`).exec(text)
    if (found !== null) return JSON.parse(found[1] ?? '')
  }
}

test('it explains the requests of the application that it is mounted in', async () => {
  const app = await buildShop({ url: 'memory:', logger: silentLogger })
  onTestFinished(() => app.close())
  await app.inject({ url: '/basket', headers: { cookie: 'a=1' } })
  const answer = await dashboard(app.redis, EVERYBODY).fetch(get('api/explain?url=/basket'))
  expect(await answer.json()).toMatchObject({ outcome: 'miss', lastRefusal: { reason: 'unkeyed-read' } })
})
