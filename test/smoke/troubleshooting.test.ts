import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { words } from '../../src/operate/reasons.js'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const PAGE = read('docs/troubleshooting.md')
const SOURCES = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => read(join('src', path)))

/** Texts of Node and of compilers, which the page quotes as well. */
const FOREIGN = /^(?:ERR_REQUIRE_ESM|Top-level await|Cannot find module|SettingsError)/

/** What stands in backquotes in the first column of a section's table. */
function quoted(section: string): string[] {
  const body = PAGE.slice(PAGE.indexOf(`\n## ${section}\n`)).split(/\n## /)[1] ?? ''
  const cells = Array.from(body.matchAll(/^\| ([^|]+)\|/gm), ([, cell = '']) => cell)
  return cells.flatMap((cell) => Array.from(cell.matchAll(/`([^`]+)`/g), ([, text = '']) => text))
}

test('every reason that an operator can see is explained', () => {
  expect(Object.keys(words()).filter((reason) => !PAGE.includes(`\`${reason}\``))).toEqual([])
})

test('there is no reason on the page that nothing reports', () => {
  expect(quoted('Bypass').filter((reason) => !Object.hasOwn(words(), reason))).toEqual([])
})

describe('messages that the page quotes are those of the code', () => {
  const messages = quoted('Errors at start').filter((message) => !FOREIGN.test(message))

  test('there are some', () => expect(messages.length).toBeGreaterThan(3))

  test.each(messages)('%s', (message) => {
    const fixed = message.replace('app.redis', '${list}')
    expect(SOURCES.some((source) => source.includes(fixed))).toBe(true)
  })
})

test('every error code has its row', () => {
  const codes = new Set(SOURCES.join('\n').match(/ERR_REDWELL_\w+/g))
  const page = read('docs/errors.md')
  expect([...codes].filter((code) => !page.includes(code))).toEqual([])
})
