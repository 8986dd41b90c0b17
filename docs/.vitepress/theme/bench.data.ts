import { readFileSync } from 'node:fs'

export interface BenchRow {
  id: string
  what: string
  /** Ours over the baseline by rate, with its quartiles; empty where the row has only figures. */
  rate: string
  figures: string
  measured: string
}

declare const data: BenchRow[]
export { data }

/** The rows of bench/RESULTS.md, so that the site shows what was measured last. */
export default {
  watch: ['../../../bench/RESULTS.md'],
  load([file]: string[]): BenchRow[] {
    const lines = readFileSync(file ?? '', 'utf8')
      .split('\n')
      .filter((line) => /^\| B\d/.test(line))
    return lines.map((line) => {
      const [, id = '', what = '', rate = '', , figures = '', , , measured = ''] = line
        .split(' | ')
        .join('|')
        .split('|')
      return { id: id.trim(), what: what.trim(), rate: rate.trim(), figures: figures.trim(), measured: measured.trim() }
    })
  },
}
