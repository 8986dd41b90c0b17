import type { Browser, Page } from 'playwright-core'
import Fastify, { type FastifyInstance } from 'fastify'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import redwell from '../../src/adapters/fastify/index.js'
import { buildShop } from '../operate/shop.js'
import { basicAuth, dashboard, type DashboardOptions } from '../../src/dashboard/index.js'
import { listEntries } from '../../src/operate/entries.js'
import { encodeEntry } from '../../src/store/entry.js'
import { makeEntry } from '../support/entries.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { noBrowser, openBrowser, openPage, violations } from './browser.js'

/** Where to put screenshots of every state, to be looked at; none are made without it. */
const SCREENSHOTS = process.env['REDWELL_TEST_SCREENSHOTS']

/** `REDWELL_SCREENSHOTS=docs/screenshots` takes those of the docs anew. */
const DOCS_SCREENSHOTS = process.env['REDWELL_SCREENSHOTS']

/** Names in the docs. */
const IN_DOCS: Readonly<Record<string, string>> = {
  'overview-light': 'dashboard-light',
  'routes-dark': 'dashboard-dark',
  'overview-narrow': 'dashboard-narrow',
}

const OPERATOR = { username: 'ops', password: 'secret' }

/** Words of the page, and the query that shows most of each panel. */
const PANELS = {
  Overview: 'overview',
  Routes: 'routes?name=GET+%2Fproducts%2F%3Aid',
  Entries: 'entries?key=%2Fproducts%2F1',
  Groups: 'groups',
  Explain: 'explain?url=%2Fbasket',
  'Rate limits': 'limits',
  Sessions: 'sessions?subject=ann',
  Health: 'health',
}

let browser: Browser
let server: RedisServer

beforeAll(async () => {
  if (noBrowser !== undefined) return
  browser = await openBrowser()
  server = await startRedis({ persistent: true })
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
})

interface Scene {
  readonly app: FastifyInstance
  readonly origin: string
  readonly panel: ReturnType<typeof dashboard>
}

let scenes = 0

async function open(guard: DashboardOptions['guard'] = basicAuth(OPERATOR), name?: string): Promise<Scene> {
  scenes += 1
  const prefix = name ?? `page-${scenes}`
  const options = { url: server.url, prefix, application: name, logger: silentLogger, commandTimeout: '5s' } as const
  const app = await buildShop({ ...options, trustRestarts: true, sessions: {} })
  onTestFinished(() => app.close())
  const panel = dashboard(app.redis, { guard })
  await app.register(panel.fastify, { prefix: '/admin/ops' })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  await app.redis.connect()
  return { app, origin, panel }
}

async function traffic({ app }: Scene): Promise<void> {
  for (let id = 0; id < 40; id += 1) await app.inject(`/products/${id % 12}`)
  for (let id = 0; id < 4; id += 1) await app.inject(`/users/${id}`)
  for (let call = 0; call < 7; call += 1) await app.inject('/limited')
  for (let call = 0; call < 3; call += 1) await app.inject({ url: '/basket', headers: { cookie: 'a=1' } })
  for (let call = 0; call < 2; call += 1) await app.inject('/login/ann')
  await app.redis.reporter.write()
}

/** A day of an application that is busy in the evening, and whose cache an operator evicts in the afternoon. */
async function yesterday({ app }: Scene): Promise<void> {
  const now = Date.now()
  const bucket = 300_000
  const noise = (of: number): number => (Math.sin(12.9898 * of) * 43758.5453) % 1
  for (let ago = 287; ago >= 0; ago -= 1) {
    const busy = 1.1 + Math.sin((2 * Math.PI * (ago - 90)) / 288)
    const lookups = Math.round(9000 * busy * (1 + 0.06 * noise(ago)))
    const lost = ago > 110 ? 0 : 0.6 * 0.8 ** (110 - ago)
    const hits = Math.round((0.945 - 0.02 * busy + 0.012 * noise(ago + 500) - lost) * lookups)
    const stale = Math.round(0.02 * lookups)
    const counts = { hits, stale, misses: lookups - hits - stale, bypasses: 3 }
    await app.redis.history.add(now - ago * bucket, [{ kind: 'route', name: 'GET /products/:id', ...counts }])
  }
}

/** Requests for as long as the test runs. */
function serveOn({ app }: Scene): void {
  const seldom = [() => app.inject({ url: '/basket', headers: { cookie: 'a=1' } }), () => app.inject('/users/1')]
  let turn = 0
  const timer = setInterval(() => {
    turn += 1
    void app.inject(`/products/${(turn * turn) % 57}`)
    if (turn % 9 === 0) void seldom[turn % 2]?.()
  }, 40)
  onTestFinished(() => clearInterval(timer))
}

async function visit(scene: Scene, page: Page, panel = 'overview'): Promise<void> {
  await page.goto(`${scene.origin}/admin/ops/#/${panel}`)
  await page.getByText(/prefix (page-\d+|shop), live/).waitFor()
}

const confirm = (page: Page, action: string) =>
  page.locator('dialog').getByRole('button', { name: action, exact: true }).click()

const withOperator = { httpCredentials: OPERATOR, viewport: { width: 1200, height: 900 } }

const FORMS = [
  { name: 'light', ...withOperator },
  { name: 'dark', ...withOperator, colorScheme: 'dark' as const },
  { name: 'narrow', ...withOperator, viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true },
]

/** No violation of axe-core, and nothing that has to be scrolled sideways. */
async function flawless(page: Page, where: string): Promise<void> {
  const sideways = Number(await page.evaluate('document.documentElement.scrollWidth - innerWidth'))
  // Code in a sentence that became a column: one letter a line.
  const columns = await page.evaluate(`[...document.querySelectorAll('td code')]
    .map((code) => [code.textContent, code.getBoundingClientRect()])
    .filter(([text, { width, height }]) => text.length < 40 && height > width && height > 40)
    .map(([text]) => text)`)
  expect({ where, violations: await violations(page), sideways: Math.max(0, sideways), columns }).toEqual({
    ...{ where, violations: [], sideways: 0, columns: [] },
  })
}

describe.skipIf(noBrowser !== undefined)('the page', () => {
  test('every panel, in light and dark and on a phone, without a violation of axe-core or of its own policy', async () => {
    const scene = await open(undefined, 'shop')
    await traffic(scene)
    await yesterday(scene)
    serveOn(scene)
    for (const { name, ...options } of FORMS) {
      const { page, errors } = await openPage(browser, options)
      await visit(scene, page)
      for (const [title, panel] of Object.entries(PANELS)) {
        await page.evaluate(`location.hash = ${JSON.stringify(`#/${panel}`)}`)
        await page.getByRole('heading', { level: 1, name: title }).waitFor()
        const content = title === 'Explain' ? page.getByLabel('Explanation') : page.getByRole('table').first()
        await content.waitFor()
        if (title === 'Health') {
          await page.getByRole('button', { name: 'Look at everything' }).click()
          await page.getByRole('table', { name: 'Findings' }).waitFor()
        }
        await flawless(page, `${name} ${title}`)
        await screenshot(page, `${title.toLowerCase().replace(' ', '-')}-${name}`)
      }
      expect(errors).toEqual([])
    }
  }, 180_000)

  test('so are its empty panels, its questions, what a reader sees, and all of it while Redis is away', async () => {
    const scene = await open()
    const reader = await open(() => 'read')
    await traffic(reader)
    const pages: { name: string; page: Page }[] = []
    for (const { name, ...options } of FORMS) {
      const { page } = await openPage(browser, options)
      pages.push({ name, page })
      for (const panel of Object.keys(PANELS).map((title) => title.toLowerCase().replace('rate ', ''))) {
        await visit(scene, page, panel)
        await expect.poll(() => page.locator('main').innerText()).not.toMatch(/Looking|Reading|Asking|Waiting/)
        await flawless(page, `${name} empty ${panel}`)
      }
      await visit(scene, page, 'groups')
      await page.getByRole('button', { name: 'Evict everything' }).click()
      await page.locator('dialog').waitFor()
      await flawless(page, `${name} question`)
      await screenshot(page, `question-${name}`)
      await visit(reader, page, 'groups')
      await page.getByText('You may look, and not change.').waitFor()
      await flawless(page, `${name} reader`)
    }
    const panels = ['overview', 'routes', 'entries', 'groups', 'limits', 'sessions?subject=ann', 'health']
    await server.kill()
    try {
      for (const { name, page } of pages)
        for (const panel of panels) {
          await page.evaluate(`location.hash = '#/${panel}'`)
          await page.getByText('Redis does not answer').waitFor({ timeout: 20_000 })
          await expect.poll(() => page.locator('main').innerText()).not.toMatch(/Looking|Reading|Asking/)
          expect(await page.getByText(/^No (entries|groups|sessions)\.$/).count()).toBe(0)
          await flawless(page, `${name} away ${panel}`)
          await screenshot(page, `away-${panel.replace(/\?.*/, '')}-${name}`)
        }
      // What could not be asked for is there by itself when Redis is.
      for (const { page } of pages) {
        await page.evaluate(`location.hash = '#/entries'`)
        await page.getByText('Not known.').waitFor()
      }
    } finally {
      await server.start()
    }
    for (const { page } of pages) await page.getByRole('link', { name: '/products/1', exact: true }).waitFor()
  }, 180_000)

  test('every button does what it says', async () => {
    const scene = await open()
    await traffic(scene)
    const { page, errors } = await openPage(browser, withOperator)
    const { cache } = scene.app.redis
    const soon = { timeout: 10_000 }
    const reason = async (url: string) => (await cache.explain({ url })).reason
    await visit(scene, page, 'entries')

    await page.getByLabel('Keys that begin with').fill('/products/1')
    await page.getByRole('button', { name: 'Search' }).click()
    await page.getByText(/^3 entries.*: all$/).waitFor()
    await page.getByRole('link', { name: '/products/1', exact: true }).click()
    await page.getByRole('button', { name: 'Show body' }).click()
    await page.getByText('"id": "1"').waitFor()
    await page.getByRole('button', { name: 'Make stale' }).click()
    await page.locator('dialog').waitFor()
    await page.keyboard.press('Escape')
    await page.locator('dialog').waitFor({ state: 'hidden' })
    expect(await reason('/products/1')).toBe('fresh')
    await page.getByRole('button', { name: 'Make stale' }).click()
    await page.locator('dialog').getByRole('button', { name: 'Cancel' }).click()
    await page.locator('dialog').waitFor({ state: 'hidden' })
    expect(await reason('/products/1')).toBe('fresh')
    await page.getByRole('button', { name: 'Make stale' }).click()
    await confirm(page, 'Make stale')
    await page.getByText('Make stale: done.').waitFor()
    expect(await reason('/products/1')).toBe('stale-while-revalidate')
    await page.getByRole('button', { name: 'Evict' }).click()
    await confirm(page, 'Evict')
    await page.getByText('Not found.').waitFor()
    expect(await reason('/products/1')).toBe('absent')

    await page.getByRole('link', { name: 'Groups' }).click()
    await page.getByRole('button', { name: 'Make stale products' }).click()
    await confirm(page, 'Make stale')
    await expect.poll(() => reason('/products/2'), soon).toBe('stale-while-revalidate')
    await page.getByRole('button', { name: 'Evict products' }).click()
    await confirm(page, 'Evict')
    await expect.poll(() => reason('/products/2'), soon).toBe('absent')
    await page.getByRole('button', { name: 'Evict users' }).click()
    await confirm(page, 'Evict')
    await expect.poll(() => cache.namespace('users').has(1), soon).toBe(false)
    await scene.app.inject('/products/3')
    await page.getByRole('button', { name: 'Evict everything' }).click()
    await confirm(page, 'Evict everything')
    await expect.poll(() => reason('/products/3'), soon).toBe('absent')

    await page.getByRole('link', { name: 'Explain' }).click()
    expect(await page.getByLabel('Method').inputValue()).toBe('GET')
    await page.getByLabel('Path and query').fill('/basket')
    await page.getByLabel('Fields').fill('Cookie: a=1')
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.getByText('its handler read a cookie').waitFor()
    await scene.app.inject('/products/4')
    await page.getByLabel('Method').selectOption('HEAD')
    await page.getByLabel('Path and query').fill('/products/4')
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.getByText('(fresh): within its lifetime').waitFor()
    expect(page.url()).toContain('method=HEAD')
    expect(await page.getByLabel('Method').inputValue()).toBe('HEAD')
    await page.getByRole('button', { name: 'Evict this URL' }).click()
    await confirm(page, 'Evict')
    await expect.poll(() => reason('/products/4'), soon).toBe('absent')

    await page.getByRole('link', { name: 'Rate limits' }).click()
    await page.getByText('5 of 5 in 1m').waitFor()
    expect((await scene.app.inject('/limited')).statusCode).toBe(429)
    await page.getByRole('button', { name: 'Forget GET /limited 127.0.0.1' }).click()
    await confirm(page, 'Forget')
    await page.getByText('Nothing is counted.').waitFor()
    await expect.poll(async () => (await scene.app.inject('/limited')).statusCode, soon).toBe(200)

    await page.getByRole('link', { name: 'Sessions' }).click()
    await page.getByLabel('Subject').fill('ann')
    await page.getByRole('button', { name: 'List' }).click()
    await page
      .getByRole('button', { name: /^End [A-Za-z0-9_-]+$/ })
      .first()
      .click()
    await confirm(page, 'End it')
    await expect.poll(async () => (await scene.app.sessions.list('ann')).length, soon).toBe(1)
    await page.getByRole('button', { name: 'End all' }).click()
    await confirm(page, 'End all')
    await page.getByText('No sessions.').waitFor()

    await page.getByRole('link', { name: 'Health' }).click()
    await page.getByRole('button', { name: 'Look at everything' }).click()
    await page.getByText('all commands that redwell sends are allowed').waitFor()
    expect(errors.filter((text) => !text.includes('404'))).toEqual([])
  }, 60_000)

  test('what happens is shown as it happens', async () => {
    const scene = await open()
    const { page } = await openPage(browser, withOperator)
    await visit(scene, page, 'health')
    // It listens from its first report on.
    await page.getByRole('table', { name: 'Processes' }).waitFor()
    await page.getByRole('link', { name: 'Overview' }).click()
    await scene.app.inject('/products/77')
    await page.getByRole('link', { name: '/products/77' }).waitFor()
    await scene.app.redis.cache.deleteGroup('products')
    await page.getByText('group products').waitFor()
    await page.getByRole('link', { name: 'Routes' }).click()
    await page.getByRole('link', { name: 'GET /products/:id' }).waitFor()
    await page.close()
    await expect.poll(() => scene.panel.viewers).toBe(0)
  })

  test('what is being typed stays while reports come in', async () => {
    const scene = await open()
    const { page } = await openPage(browser, withOperator)
    const states: string[] = []
    await page.exposeFunction('reported', () => states.push('state'))
    await page.addInitScript(`const Source = EventSource
      globalThis.EventSource = class extends Source {
        constructor(url) { super(url); this.addEventListener('state', () => reported()) }
      }`)
    for (const [panel, label, given] of [
      ['entries?search=%2Fa', 'Keys that begin with', '/a'],
      ['sessions?subject=ben', 'Subject', 'ben'],
      ['explain?url=%2Fbasket', 'Path and query', '/basket'],
      ['explain?url=%2Fbasket&headers=A%3A+b', 'Fields', 'A: b'],
    ] as const) {
      await visit(scene, page, panel)
      const field = page.getByLabel(label)
      await expect.poll(() => field.inputValue()).toBe(given)
      await field.fill('half')
      const before = states.length
      await expect.poll(() => states.length - before, { timeout: 10_000 }).toBeGreaterThan(1)
      expect(await field.inputValue()).toBe('half')
    }
  })

  test('it is used by the keyboard alone', async () => {
    const scene = await open()
    await traffic(scene)
    const { page } = await openPage(browser, withOperator)
    await visit(scene, page)
    const focused = () => page.evaluate('document.activeElement?.textContent?.trim() ?? ""')
    const tabTo = async (text: string): Promise<void> => {
      for (let presses = 0; presses < 60; presses += 1) {
        if ((await focused()) === text) return
        await page.keyboard.press('Tab')
      }
      throw new Error(`Tab never came to ${text}`)
    }
    await page.reload()
    await page.getByText(/, live/).waitFor()
    await page.evaluate('document.activeElement?.blur()')
    await tabTo('Groups')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Evict products' }).waitFor()
    expect(await page.evaluate('document.activeElement?.tagName')).toBe('MAIN')
    const reason = async () => (await scene.app.redis.cache.explain({ url: '/products/1' })).reason
    const label = () => page.evaluate('document.activeElement?.getAttribute("aria-label")')
    await page.getByRole('button', { name: 'Evict products' }).focus()
    // Whoever presses Enter twice has evicted nothing.
    for (const key of ['Enter', 'Escape']) {
      await page.keyboard.press('Enter')
      await page.locator('dialog').waitFor()
      expect(await focused()).toBe('Cancel')
      await page.keyboard.press(key)
      await page.locator('dialog').waitFor({ state: 'hidden' })
      expect(await label()).toBe('Evict products')
    }
    expect(await reason()).toBe('fresh')
    await page.keyboard.press('Enter')
    await page.locator('dialog').waitFor()
    await tabTo('Evict')
    await page.keyboard.press('Enter')
    await page.getByText('Evict: done.').waitFor()
    expect(await reason()).toBe('absent')
    expect(await label()).toBe('Evict products')
  })

  test('who may only look has no buttons that change', async () => {
    const scene = await open(() => 'read')
    await traffic(scene)
    const { page } = await openPage(browser, withOperator)
    for (const panel of Object.values(PANELS)) {
      await visit(scene, page, panel)
      await page.getByText('You may look, and not change.').waitFor()
      expect(await page.getByRole('button', { name: /^(Evict|Make stale|Forget|End)/ }).count()).toBe(0)
    }
  })

  test('Redis goes away and comes back: the page says so, keeps what it knew, and goes on', async () => {
    const scene = await open()
    await traffic(scene)
    const { page } = await openPage(browser, withOperator)
    await visit(scene, page, 'routes')
    await page.getByRole('link', { name: 'GET /products/:id' }).waitFor()
    for (const [leave, come] of [
      [() => server.kill(), () => server.start()],
      [async () => server.pause(), async () => server.resume()],
    ] as const) {
      await leave()
      await page.getByText('Redis does not answer').waitFor({ timeout: 20_000 })
      expect(await page.getByRole('link', { name: 'GET /products/:id' }).count()).toBe(1)
      await come()
      await page.getByText('Redis does not answer').waitFor({ state: 'detached', timeout: 20_000 })
      await page.getByText(/, live/).waitFor()
    }
  }, 90_000)

  test('the application goes away and comes back: the page connects again', async () => {
    const scene = await open()
    const port = Number(new URL(scene.origin).port)
    const { page } = await openPage(browser, withOperator)
    await visit(scene, page)
    await scene.app.close()
    await page.getByText('not connected').waitFor()
    // What a proxy says meanwhile, at which a browser would give up.
    const proxy = createServer((_, res) => res.writeHead(503).end()).listen(port, '127.0.0.1')
    await once(proxy, 'request')
    proxy.close()
    proxy.closeAllConnections()
    await once(proxy, 'close')
    const app = Fastify()
    onTestFinished(() => app.close())
    const again = await buildShop({ url: server.url, prefix: scene.app.redis.settings.prefix, logger: silentLogger })
    onTestFinished(() => again.close())
    await app.register(dashboard(again.redis, { guard: basicAuth(OPERATOR) }).fastify, { prefix: '/admin/ops' })
    await app.listen({ host: '127.0.0.1', port })
    await page.getByText(/, live/).waitFor({ timeout: 20_000 })
  })
})

describe.skipIf(noBrowser !== undefined)('attacks', () => {
  test('without the guard’s password nothing is shown', async () => {
    const scene = await open()
    const { page } = await openPage(browser)
    for (const path of ['', 'main.js', 'api/about', 'api/live', 'api/entries']) {
      const answer = await page.request.get(`${scene.origin}/admin/ops/${path}`)
      expect(answer.status()).toBe(401)
    }
  })

  test('a page of another origin, opened by an operator who is signed in, changes, reads and frames nothing', async () => {
    const scene = await open()
    await scene.app.inject('/products/1')
    const evict = `${scene.origin}/admin/ops/api/evict`
    const evil = createServer((_, res) => {
      res.setHeader('content-type', 'text/html')
      res.end(`<form id="f" method="post" enctype="text/plain" action="${evict}" target="t"><input name='{"all":true,"x":"' value='"}'></form>
        <iframe name="t"></iframe><iframe id="framed" src="${scene.origin}/admin/ops/"></iframe>`)
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void evil.close())
    await once(evil, 'listening')
    const address = evil.address()
    // `localhost` is another site than 127.0.0.1.
    const place = `http://localhost:${typeof address === 'object' ? address?.port : 0}/`
    // Credentials for every origin, as if the operator had signed in before.
    const { page } = await openPage(browser, { httpCredentials: { ...OPERATOR, send: 'always' } })
    const answers: number[] = []
    page.on('response', (response) => {
      if (response.url() === evict) answers.push(response.status())
    })
    await page.goto(place.replace('localhost', '127.0.0.1'))
    await page.evaluate('document.querySelector("form").submit()')
    const tried = await page.evaluate(async (url) => {
      const results: string[] = []
      const body = '{"all":true}'
      const ways: RequestInit[] = [
        { method: 'POST', mode: 'no-cors', credentials: 'include', body },
        {
          method: 'POST',
          credentials: 'include',
          body,
          headers: { 'content-type': 'application/json', 'x-redwell': '1' },
        },
        { credentials: 'include' },
      ]
      for (const way of ways)
        results.push(
          await fetch(url, way).then(
            ({ type }) => type,
            () => 'failed',
          ),
        )
      return results
    }, evict)
    expect(tried).toEqual(['failed', 'failed', 'failed'])
    await expect.poll(() => answers.length).toBeGreaterThan(0)
    expect(answers.filter((status) => status < 400)).toEqual([])
    expect((await scene.app.redis.cache.explain({ url: '/products/1' })).reason).toBe('fresh')
    const framed = page.frames().find((frame) => frame.url().includes('/admin/ops'))
    expect(
      await framed
        ?.locator('nav')
        .count()
        .catch(() => 0),
    ).toBeFalsy()
  })
})

describe.skipIf(noBrowser !== undefined)('text of others', () => {
  const LONG = 'w'.repeat(10_000)
  const EVIL = `"'><script>pwned=1</script><img src=x onerror=pwned=1>{{7*7}}\u202egnp.exe\r\njavascript:pwned=1//`

  /** An application in which everything that has a name is named by an attacker. */
  async function hostile(): Promise<Scene> {
    scenes += 1
    const app = Fastify({ routerOptions: { maxParamLength: 20_000 } })
    onTestFinished(() => app.close())
    const options = { url: server.url, prefix: `page-${scenes}`, logger: silentLogger, commandTimeout: '5s' } as const
    const described = { describe: () => EVIL.slice(0, 512) }
    await app.register(redwell, {
      ...options,
      trustRestarts: true,
      application: EVIL.slice(0, 60),
      sessions: described,
    })
    const { redis } = app
    const cache = { ttl: '1m', group: [EVIL, LONG.slice(0, 256)] } as const
    app.get('/"><script>pwned=1</script>/:id', { config: { cache } }, async (_, reply) => {
      reply.header('x-evil', `"'><script>pwned=1</script>`).header('x-long', LONG.slice(0, 4000))
      return EVIL
    })
    app.get('/basket', { config: { cache: { ttl: '1m', key: () => LONG } } }, async (request) => request.headers.cookie)
    const limit = { rate: '5/minute', per: () => EVIL, scope: EVIL.slice(0, 60) } as const
    app.get('/limited', { config: { rateLimit: limit } }, async () => '')
    app.get('/login', async ({ session }) => {
      Object.assign(session.data, { userId: EVIL })
      return ''
    })
    const panel = dashboard(redis, { guard: () => true })
    await app.register(panel.fastify, { prefix: '/admin/ops' })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    await redis.connect()
    const values = redis.cache.namespace<string, string>('values', { ttl: '10m', group: EVIL })
    await Promise.all([
      values.set(EVIL, EVIL),
      values.set(LONG, LONG),
      redis.cache.set(`${EVIL}${LONG}`, { [EVIL]: LONG }),
    ])
    for (const id of ['1', encodeURIComponent(EVIL), LONG]) await app.inject(`${ROUTE}/${id}`)
    await app.inject({ url: '/basket', headers: { cookie: EVIL } })
    await app.inject('/limited')
    await app.inject('/login')
    await redis.reporter.write()
    return { app, origin, panel }
  }

  const ROUTE = encodeURI('/"><script>pwned=1</script>')

  test('is text: nothing of it runs, hides, turns or breaks the page', async () => {
    const scene = await hostile()
    const api = async (path: string) => (await fetch(`${scene.origin}/admin/ops/api/${path}`)).json() as Promise<Listed>
    const { items } = await api('entries?limit=100')
    expect(items.length).toBeGreaterThanOrEqual(5)
    const entries = items.map(({ key }) => `entries?${query({ key })}`)
    const views = {
      Overview: ['overview'],
      Routes: ['routes', `routes?${query({ name: 'GET /"><script>pwned=1</script>/:id' })}`],
      Entries: ['entries', `entries?${query({ search: EVIL })}`, `entries?key=${LONG}`, ...entries],
      Groups: ['groups', `groups?${query({ search: EVIL.slice(0, 5) })}`],
      Explain: ['/basket', `${ROUTE}/1`, EVIL, `/${LONG}`].map(
        (url) => `explain?${query({ url, headers: `Cookie: ${EVIL}\nX: ${LONG}` })}`,
      ),
      'Rate limits': ['limits'],
      Sessions: [`sessions?${query({ subject: EVIL })}`, `sessions?subject=${LONG}`],
      Health: ['health'],
    }
    for (const viewport of [
      { width: 1200, height: 900 },
      { width: 360, height: 780 },
    ]) {
      const { page, errors } = await openPage(browser, { viewport })
      page.on('dialog', (dialog) => {
        expect(dialog.message()).toBe('no dialog')
        void dialog.dismiss()
      })
      await visit(scene, page)
      let text = ''
      for (const [title, hashes] of Object.entries(views)) {
        for (const hash of hashes) {
          await page.evaluate(`location.hash = ${JSON.stringify(`#/${hash}`)}`)
          await page.getByRole('heading', { level: 1, name: title, exact: true }).waitFor()
          await page.locator('main section, main .note').first().waitFor()
          await expect.poll(() => page.locator('main').innerText(), { timeout: 10_000 }).not.toMatch(/Looking|Reading/)
          await scene.app.inject(`${ROUTE}/1`)
          const found = await page.evaluate(`({
            pwned: typeof pwned,
            foreign: document.querySelectorAll('main script, main img, main [onerror], a[href^="javascript"]').length,
            sideways: Math.max(0, document.documentElement.scrollWidth - innerWidth),
            hidden: [...document.querySelectorAll('main section')].filter((one) => one.scrollWidth > one.clientWidth + 1).length,
            turned: /[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.querySelector('main').innerText.replace(/Body[^]*/, '')),
          })`)
          const place = `${viewport.width} ${hash.slice(0, 60)}`
          expect({ place, ...(found as object) }).toEqual({
            ...{ place, pwned: 'undefined', foreign: 0, sideways: 0, hidden: 0, turned: false },
          })
          text += await page.locator('main').innerText()
        }
        expect(await violations(page)).toEqual([])
        await screenshot(page, `hostile-${title.toLowerCase().replace(' ', '-')}-${viewport.width}`)
      }
      expect(text).toContain('<script>pwned=1</script>')
      expect(text).toContain(String.raw`\u{202e}gnp.exe\u{d}\u{a}`)
      // Answers to what is not there, and to questions that are too long, are told by the browser.
      expect(errors.filter((error) => !/status of 4(00|04|31)/.test(error))).toEqual([])
    }
  }, 180_000)

  test('questions name it as it is, and it is evicted', async () => {
    const scene = await hostile()
    const { page } = await openPage(browser, withOperator)
    await visit(scene, page, 'groups')
    await page
      .getByRole('button', { name: /^Evict .*script/ })
      .first()
      .click()
    await page
      .locator('dialog')
      .getByText(/<script>pwned=1<\/script>.*\\u\{202e\}gnp/)
      .waitFor()
    expect(await violations(page)).toEqual([])
    await confirm(page, 'Evict')
    await page.getByText('Evict: done.').waitFor()
    const { items } = await listEntries(scene.app.redis, { search: 'value:values:' })
    expect(items.map(({ state }) => state)).toEqual(['invalid', 'invalid'])
  })
})

function query(of: Readonly<Record<string, string>>): string {
  return new URLSearchParams(of).toString()
}

interface Listed {
  readonly items: readonly { readonly key: string }[]
}

/** Written by the server itself: encoded once, copied a million times. */
async function fill({ app }: Scene, count: number): Promise<void> {
  const { connection, settings, scope } = app.redis
  await app.inject('/products/1')
  const stamp = (await scope.inspect.read(['/products/1'], [])).entries[0]
  const bytes = encodeEntry(makeEntry({ ...stamp, body: Buffer.from('{}') }))
  if (connection === undefined || bytes === undefined) throw new Error('no Redis')
  const script = `for i = ARGV[3], ARGV[4] do redis.call('SET', ARGV[1] .. i, ARGV[2], 'PX', 600000) end`
  for (let from = 0; from < count; from += 20_000) {
    const name = `${settings.prefix}:entry:/items/`
    await connection.servers[0]?.inspect(['EVAL', script, '0', name, bytes, String(from), String(from + 19_999)])
  }
}

describe.skipIf(noBrowser !== undefined)('many keys', () => {
  const COUNT = 1_000_000

  test('a million entries are listed page by page, searched, and never held at once', async () => {
    const scene = await open()
    await fill(scene, COUNT)
    const { page, errors } = await openPage(browser, withOperator)
    const startedAt = performance.now()
    await visit(scene, page, 'entries')
    await page.getByRole('table', { name: 'Entries' }).waitFor()
    console.log(`first page after ${Math.round(performance.now() - startedAt)} ms`)
    const rows = () => page.locator('table tbody tr').count()
    const first = await rows()
    expect(first).toBeGreaterThanOrEqual(50)
    expect(first).toBeLessThan(300)
    await page.getByRole('button', { name: 'More' }).click()
    await expect.poll(rows).toBeGreaterThan(first)
    await page.getByLabel('Keys that begin with').fill('/items/77777')
    await page.getByRole('button', { name: 'Search' }).click()
    const searchedAt = performance.now()
    await page.getByText(/: all$/).waitFor({ timeout: 90_000 })
    await page.getByRole('link', { name: '/items/77777', exact: true }).waitFor()
    expect(await rows()).toBe(11)
    console.log(`a search through a million keys took ${Math.round(performance.now() - searchedAt)} ms`)
    const slowest = scene.app.redis.counters
    expect(slowest).toMatchObject({ missed: 0, opened: 0 })
    expect(errors).toEqual([])
  }, 180_000)
})

async function screenshot(page: Page, name: string): Promise<void> {
  const inDocs = IN_DOCS[name]
  if (DOCS_SCREENSHOTS !== undefined && inDocs !== undefined)
    await page.screenshot({ path: join(DOCS_SCREENSHOTS, `${inDocs}.png`) })
  if (SCREENSHOTS === undefined) return
  mkdirSync(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) })
}
