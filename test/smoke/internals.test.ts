import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const PAGE = readFileSync(join(ROOT, 'docs/internals.md'), 'utf8')

/** Most files that a maintainer must open to follow a request. */
const LIMITS: Readonly<Record<string, number>> = {
  'A hit': 14,
  'A hit that was seen before': 4,
  'A miss': 20,
  'A write-through': 10,
  'An eviction': 10,
  'A session': 14,
  'A command of an operator': 12,
  'A question of the dashboard': 12,
}

interface Step {
  readonly file: string
  /** `name` of a function, or `Class.member`; empty where the file as a whole is meant. */
  readonly name: string
}

/** The steps of each section: a file of src in backquotes, followed by the names of what is called in it. */
function walksOf(page: string): ReadonlyMap<string, readonly Step[]> {
  const sections = page.split(/^## /m).slice(1)
  const walks = sections.map((section) => {
    const title = section.slice(0, section.indexOf('\n'))
    const mentions = section.matchAll(/`(src\/[^`]+\.(?:ts|lua))`((?:,? `[#\w.]+`)*)/g)
    const steps = Array.from(mentions, ([, file = '', names = '']) => {
      const called = Array.from(names.matchAll(/`([^`]+)`/g), ([, name = '']) => ({ file, name }))
      return called.length === 0 ? [{ file, name: '' }] : called
    })
    return [title, steps.flat()] as const
  })
  return new Map(walks.filter(([, steps]) => steps.length > 0))
}

function problemOf({ file, name }: Step): string | undefined {
  const path = join(ROOT, file)
  if (!existsSync(path)) return `${file} is gone`
  return name === '' || declares(readFileSync(path, 'utf8'), name) ? undefined : `${file} has no ${name}`
}

function declares(source: string, name: string): boolean {
  const [first = '', member] = name.split('.')
  const declared = new RegExp(
    `^(?:export )?(?:default )?(?:abstract )?(?:async )?(?:function\\*?|class|interface|const) ${first}\\b`,
    'm',
  )
  const match = declared.exec(source)
  if (match === null || member === undefined) return match !== null
  const end = source.indexOf('\n}', match.index)
  const modifiers = '(?:(?:private|protected|static|override|readonly|async|get) )*'
  const body = source.slice(match.index, end === -1 ? undefined : end)
  return new RegExp(`^  ${modifiers}${member}(?:\\??[(<:]| =|\\?:)`, 'm').test(body)
}

const walks = walksOf(PAGE)

test('the page walks a hit, a miss, a write-through, an eviction, a session, and what operators do', () => {
  expect([...walks.keys()]).toEqual(expect.arrayContaining(Object.keys(LIMITS)))
})

describe.each([...walks])('%s', (title, steps) => {
  test('names functions that exist', () => {
    expect(steps.map(problemOf).filter((problem) => problem !== undefined)).toEqual([])
  })

  test('needs no more files than it may', () => {
    const files = new Set(steps.map(({ file }) => file))
    expect(files.size).toBeLessThanOrEqual(LIMITS[title] ?? 0)
  })
})

describe('the check itself', () => {
  const source = [
    'export class Store {',
    '  async read(keys: string[]) {}',
    '  #send = (command: string) => command',
    '  readonly prefix: string',
    '}',
    'class Other {',
    '  write() {}',
    '}',
    'export async function open() {}',
    'function close<T>() {}',
    'const later = () => read()',
  ].join('\n')

  test.each(['Store', 'Store.read', 'Store.#send', 'Store.prefix', 'Other.write', 'open', 'close', 'later'])(
    'finds %s',
    (name) => {
      expect(declares(source, name)).toBe(true)
    },
  )

  test.each(['Store.write', 'Other.read', 'read', 'Store.rea', 'ope', 'Gone', 'Gone.read'])('misses %s', (name) => {
    expect(declares(source, name)).toBe(false)
  })

  test('reads several names of one file, and both kinds of files', () => {
    const page =
      '# Page\n\n## A walk\n\n1. `src/a.ts` `one`, `Two.three`: it runs\n2. `src/b.lua`\n3. `src/c.ts` `four`\n'
    expect(walksOf(page).get('A walk')).toEqual([
      { file: 'src/a.ts', name: 'one' },
      { file: 'src/a.ts', name: 'Two.three' },
      { file: 'src/b.lua', name: '' },
      { file: 'src/c.ts', name: 'four' },
    ])
  })
})
