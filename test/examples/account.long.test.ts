import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildApp } from '../../examples/places/app.js'
import type { Database } from '../../examples/places/database.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'
import { command, secretOf } from '../session/traces.js'

/** Debian's own. */
const CHROMIUM = process.env['REDWELL_TEST_CHROMIUM'] ?? '/usr/bin/chromium'

const LAPTOP = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36'
const PHONE = 'Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36'
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'

/** The account pages ask nothing of the database. */
const NO_DATABASE = {} as Database

/** `REDWELL_SCREENSHOTS=docs/screenshots` takes those of the docs anew. */
const wanted = process.env['REDWELL_SCREENSHOTS']
const folder = wanted ?? mkdtempSync(join(tmpdir(), 'redwell-screenshots-'))

describe.skipIf(!existsSync(CHROMIUM))('in a real browser', { timeout: 60_000 }, () => {
  let app: FastifyInstance
  let browser: Browser
  let origin: string
  let server: Awaited<ReturnType<typeof sharedRedis>>

  beforeAll(async () => {
    server = await sharedRedis()
    const redis = { url: server.url, prefix: `account-${randomUUID()}`, connect: true, commandTimeout: 5 } as const
    app = await buildApp({ db: NO_DATABASE, redis: { ...redis, logger: silentLogger } })
    origin = await app.listen({ host: '127.0.0.1', port: 0 })
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] })
  }, 60_000)
  afterAll(async () => {
    await browser.close()
    await app.close()
    await server.close()
    if (wanted === undefined) rmSync(folder, { recursive: true, force: true })
  })

  const open = async (options: BrowserContextOptions = {}): Promise<Page> => {
    const context = await browser.newContext({ viewport: { width: 800, height: 520 }, userAgent: LAPTOP, ...options })
    const page = await context.newPage()
    await page.goto(`${origin}/account`)
    return page
  }
  const signIn = async (page: Page, user = 'ada', password = 'places'): Promise<void> => {
    await page.getByLabel('Name').fill(user)
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Sign in' }).click()
  }
  const cookieOf = async (page: Page) => (await page.context().cookies()).find(({ name }) => name === 'session')
  const heading = (page: Page) => page.getByRole('heading', { level: 1 }).textContent()
  const devices = (page: Page) => page.getByRole('listitem').locator('strong').allTextContents()
  const shoot = (page: Page, name: string) =>
    page.screenshot({ path: join(folder, `devices-${name}.png`), fullPage: true })

  test('signs in, lists devices, signs out of one and everywhere', async () => {
    const laptop = await open()
    expect(await cookieOf(laptop)).toBeUndefined()
    await signIn(laptop, 'ada', 'wrong')
    expect(await laptop.getByRole('alert').textContent()).toBe('That name and password do not belong together.')
    expect(await cookieOf(laptop)).toBeUndefined()
    await signIn(laptop)
    expect([await heading(laptop), await devices(laptop)]).toEqual(['Your devices', ['Chrome on Linux']])
    const cookie = await cookieOf(laptop)
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Lax', path: '/' })
    expect(await laptop.evaluate('document.cookie')).toBe('')

    const phone = await open({ viewport: { width: 360, height: 640 }, userAgent: PHONE, isMobile: true })
    const dark = await open({ colorScheme: 'dark', userAgent: FIREFOX })
    for (const page of [phone, dark]) await signIn(page)
    await laptop.reload()
    expect(await devices(laptop)).toEqual(['Chrome on Linux', 'Chrome on Android', 'Firefox on Linux'])
    expect(await laptop.getByText('This device').count()).toBe(1)
    await shoot(laptop, 'light')
    await dark.reload()
    await shoot(dark, 'dark')
    await phone.reload()
    await shoot(phone, 'narrow')
    // Nothing is cut off or scrolls sideways.
    expect(await phone.evaluate('document.documentElement.scrollWidth <= window.innerWidth')).toBe(true)
    // The page has handles, and no id.
    for (const page of [laptop, phone, dark]) {
      const own = secretOf((await cookieOf(page))?.value)
      for (const other of [laptop, phone, dark]) expect(await other.content()).not.toContain(own)
    }

    await laptop.getByRole('listitem').filter({ hasText: 'Android' }).getByRole('button', { name: 'Sign out' }).click()
    expect(await devices(laptop)).toEqual(['Chrome on Linux', 'Firefox on Linux'])
    await phone.reload()
    expect(await heading(phone)).toBe('Sign in')
    await signIn(phone)
    await laptop.getByRole('button', { name: 'Sign out everywhere else' }).click()
    expect(await devices(laptop)).toEqual(['Chrome on Linux'])
    await dark.reload()
    expect(await heading(dark)).toBe('Sign in')
    await signIn(dark)

    await laptop.getByRole('button', { name: 'Sign out everywhere', exact: true }).click()
    expect(await heading(laptop)).toBe('Sign in')
    expect(await cookieOf(laptop)).toBeUndefined()
    await dark.reload()
    expect(await heading(dark)).toBe('Sign in')
    // A cookie that was kept opens nothing.
    await laptop.context().addCookies([{ name: 'session', value: cookie?.value ?? '', url: origin }])
    await laptop.reload()
    expect(await heading(laptop)).toBe('Sign in')
    const index = (await command(app.redis, 'KEYS', `${app.redis.settings.prefix}:session:*`)) as string[]
    expect(index.join()).not.toContain(secretOf(cookie?.value))
  })

  test('a form of another site signs nobody out', async () => {
    const page = await open()
    await signIn(page, 'ben')
    const elsewhere = await page.context().newPage()
    await elsewhere.goto(
      `data:text/html,${encodeURIComponent(`<form method="post" action="${origin}/account/sign-out-everywhere"><button>x</button></form>`)}`,
    )
    await elsewhere.getByRole('button').click()
    await elsewhere.waitForLoadState()
    await page.reload()
    expect(await heading(page)).toBe('Your devices')
  })
})
