import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { printTable } from './report.mjs'
import { judge, KINDS, score } from './score.mjs'

/** The results of other caches that come with the suite, judged as ours are. */
export async function compare(folder, sections) {
  const { default: index } = await import(pathToFileURL(join(folder, 'results/index.mjs')))
  const rows = index.map(({ name, version, file }) => {
    const judged = judge(sections, JSON.parse(readFileSync(join(folder, 'results', file), 'utf8')))
    const run = judged.filter(({ outcome }) => outcome !== 'untested')
    const scores = score(run)
    return [name, version, ...KINDS.map((kind) => `${scores[kind].passed}/${scores[kind].all}`)]
  })
  printTable([['cache', 'version', ...KINDS], ...rows])
}
