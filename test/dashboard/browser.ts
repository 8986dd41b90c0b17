import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import axe from 'axe-core'
import { existsSync } from 'node:fs'
import { onTestFinished } from 'vitest'

/** Debian's, or the one that `REDWELL_TEST_CHROMIUM` names. */
const PROGRAM = process.env['REDWELL_TEST_CHROMIUM'] ?? '/usr/bin/chromium'

/** Why the tests in a browser cannot run; undefined where they can. */
export const noBrowser = existsSync(PROGRAM) ? undefined : `${PROGRAM} is missing (REDWELL_TEST_CHROMIUM)`

export function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}

/** A page of its own, and everything that went wrong in it. */
export async function openPage(
  browser: Browser,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; errors: readonly string[] }> {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options })
  onTestFinished(() => context.close())
  // Sooner than the test's own, so that a failure names what was waited for.
  context.setDefaultTimeout(10_000)
  const page = await context.newPage()
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text())
  })
  return { page, errors }
}

interface Violation {
  readonly id: string
  readonly nodes: readonly { readonly html: string }[]
}

/** Violations of axe-core's rules: WCAG 2.2 A and AA, and its best practices. Evaluated past the page's own policy. */
export async function violations(page: Page): Promise<readonly string[]> {
  const isThere = await page.evaluate(() => 'axe' in globalThis)
  if (!isThere) await page.evaluate(axe.source)
  const found = (await page.evaluate('axe.run().then(({ violations }) => violations)')) as readonly Violation[]
  return found.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}
