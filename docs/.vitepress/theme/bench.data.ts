import { readFileSync } from 'node:fs'

export interface BenchRow {
  id: string
  what: string
  /** The baseline's CPU for a request over ours, with its quartiles; empty where the row has only figures. */
  cpu: string
  /** Our requests per second over the baseline's, with their quartiles; empty where the row has only figures. */
  rate: string
  figures: string
}

export interface Bench {
  rows: BenchRow[]
  /** Versions, machine and rounds: what the figures depend on. */
  conditions: string
}

declare const data: Bench
export { data }

/** bench/RESULTS.md, so that the site shows what was measured last. */
export default {
  watch: ['../../../bench/RESULTS.md'],
  load([file]: string[]): Bench {
    const lines = readFileSync(file ?? '', 'utf8').split('\n')
    const rows = lines
      .filter((line) => /^\| B\d/.test(line))
      .map((line) => {
        const [, id = '', what = '', rate = '', cpu = '', figures = ''] = line.split('|').map((cell) => cell.trim())
        return { id, what, rate, cpu, figures }
      })
      // The same at a thousand requests a second: for who reads the file.
      .filter(({ what }) => !what.includes('requests a second'))
    const conditions = lines.filter((line) => /^(?:Node v|\d+ cores|\d+ rounds)/.test(line)).join(' ')
    return { rows, conditions }
  },
}
