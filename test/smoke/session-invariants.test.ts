import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

const PAGE = readFileSync(join(ROOT, 'docs/decisions/0013-sessions.md'), 'utf8')

/** Files of tests in the table, each followed by what their tests are called. */
const REFERENCES = Array.from(
  PAGE.matchAll(/`(test\/[^`]+\.ts)`(?:: ((?:`[^`]+`(?:, )?)+))?/g),
  ([, file = '', names = '']) => [file, Array.from(names.matchAll(/`([^`]+)`/g), ([, name = '']) => name)] as const,
)

test('every invariant of sessions names tests that exist', () => {
  const problems = REFERENCES.flatMap(([file, names]) => {
    if (!existsSync(join(ROOT, file))) return [`${file} is gone`]
    const source = readFileSync(join(ROOT, file), 'utf8')
    return names.filter((name) => !source.includes(name)).map((name) => `${file} has no test '${name}'`)
  })
  expect(problems).toEqual([])
  expect(REFERENCES.length).toBeGreaterThan(20)
})
