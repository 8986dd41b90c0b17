import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** docs/conformance.md and the list of accepted failures say the same. The command compares both with what the suite finds. */
const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const docs = read('docs/conformance.md')

const { failures, current } = JSON.parse(read('conformance/expected.json')) as {
  readonly failures: Readonly<Record<string, string>>
  readonly current: { readonly commit: string; readonly failures: readonly string[] }
}

const rows = docs
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )

/** Ids of the failures that a row of `What fails, and why` names, with their kinds. */
function failing([names = '', kinds = '']: readonly string[]): (readonly [id: string, kind: string])[] {
  const ids = [...names.matchAll(/`([^`]+)`(?: \((\d+)\))?/g)].flatMap(([, id = '', count]) => {
    if (count === undefined) return [id]
    const all = Object.keys(failures).filter((one) => one.startsWith(id.replace('*', '')))
    return all.length === Number(count) ? all : [`${id}: ${all.length}`]
  })
  const [first = '', second = first] = kinds.split(', ')
  return ids.map((id, index) => [id, index === 0 ? first : second])
}

const told = rows.filter(([, kind = '']) => /^(?:required|optimal)(?:, optimal)?$/.test(kind)).flatMap(failing)

const countOf = (kind: string): number => told.filter(([, one]) => one === kind).length

test('the page names each accepted failure', () => {
  expect(told.map(([id]) => id).sort()).toEqual(Object.keys(failures).sort())
})

test.each([
  ['required', 1],
  ['optimal', 2],
])('the scores of the release add up, and leave out what fails: %s', (kind, column) => {
  const scores = rows.filter((row) => row.length === 5).map((row) => (row[column] ?? '').split('/').map(Number))
  const [all = [], ...sections] = scores.filter((score) => score.length === 2 && !score.includes(Number.NaN)).reverse()
  const sum = (part: number): number => sections.reduce((total, score) => total + (score[part] ?? 0), 0)
  expect([sum(0), sum(1)]).toEqual(all)
  expect((all[1] ?? 0) - (all[0] ?? 0)).toBe(countOf(kind))
  expect(rows.find(([name]) => name === '**redwell**')?.[column + 1]).toBe(all.join('/'))
  const [, ...compared] = /\| redwell, `rfc9111` \| (\S+) +\| (\S+) /.exec(read('docs/comparison.md')) ?? []
  expect(compared[column - 1]).toBe(all.join('/'))
})

test('so do those of the current state', () => {
  const [, commit, required, optimal, all] =
    /commit `(\w+)`[^]*?\*\*(\d+ of \d+)\*\* `required`[^]*?\*\*(\d+) of (\d+)\*\* `optimal`/.exec(docs) ?? []
  const failed = current.failures.filter((id) => told.some(([one, kind]) => one === id && kind === 'optimal'))
  expect(commit).toBe(current.commit)
  expect(required).toBe('160 of 160')
  expect(failed).toEqual(current.failures)
  expect(Number(all) - Number(optimal)).toBe(current.failures.length)
})
