import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { BenchOptions } from './bench.js'
import { chart } from './chart.js'
import type { Outcome } from './row.js'
import type { Spread } from './stats.js'

const RESULTS = new URL('../RESULTS.md', import.meta.url)
const CHART = new URL('../results.svg', import.meta.url)

const HEAD =
  '| row | what | rate, ratio (quartiles) | CPU, ratio (quartiles) | figures | target | met | measured | garbage |'
const RULE = '|---|---|---|---|---|---|---|---|---|'

/** Everything the figures depend on. */
function environment({ rounds, roundMs, connections }: BenchOptions): string {
  const redis = /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1]
  const memory = Math.round(totalmem() / 1024 ** 3)
  return [
    `Node ${process.version}, Redis ${redis}, fastify ${versionOf('fastify')}, @redis/client ${versionOf('@redis/client')}.`,
    `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${memory} GB of memory.`,
    `${rounds} rounds of ${roundMs} ms, ${connections} connections, 1,000 URLs.`,
  ].join('\n')
}

function versionOf(name: string): string {
  const entry = createRequire(import.meta.url).resolve(name)
  for (let folder = dirname(entry); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json')
    if (!existsSync(file)) continue
    const { name: found, version } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string }
    if (found === name) return version ?? '?'
  }
}

function ratio(spread: Spread | undefined): string {
  if (spread === undefined) return ''
  return `${spread.median.toFixed(2)} (${spread.low.toFixed(2)}–${spread.high.toFixed(2)})`
}

export function line({ id, what, rate, cpu, gc = '', figures, target, met }: Outcome): string {
  const day = new Date().toISOString().slice(0, 10)
  return `| ${id} | ${what} | ${ratio(rate)} | ${ratio(cpu)} | ${figures} | ${target} | ${met} | ${day} | ${gc} |`
}

/** A line of the results, read back. */
export interface Committed {
  readonly id: string
  readonly what: string
  readonly rate: Spread | undefined
  readonly cpu: Spread | undefined
  readonly text: string
}

/** The results that are committed, and over how many rounds they were taken. */
export function readResults(): { readonly rows: readonly Committed[]; readonly rounds: number; readonly text: string } {
  const text = existsSync(RESULTS) ? readFileSync(RESULTS, 'utf8') : ''
  const rows = text.split('\n').filter((row) => /^\| B\d/.test(row))
  return { rows: rows.map(committed), rounds: Number(/^(\d+) rounds/m.exec(text)?.[1] ?? 0), text }
}

function committed(text: string): Committed {
  const [, id = '', what = '', rate = '', cpu = ''] = text.split('|').map((cell) => cell.trim())
  return { id, what, rate: spreadOf(rate), cpu: spreadOf(cpu), text }
}

function spreadOf(cell: string): Spread | undefined {
  const [, middle, low, high] = /^([\d.]+) \(([\d.]+)–([\d.]+)\)$/.exec(cell) ?? []
  return middle === undefined ? undefined : { low: Number(low), median: Number(middle), high: Number(high) }
}

/** `B17a` comes after `B17`, and `B1-nest` after `B1`. */
function order(one: Committed, other: Committed): number {
  const numberOf = ({ id }: Committed): number => Number(/\d+/.exec(id)?.[0])
  return numberOf(one) - numberOf(other)
}

/** Writes the results, keeping lines of rows that this run left out where they were measured under the same conditions. */
export function writeResults(outcomes: readonly Outcome[], options: BenchOptions): void {
  const conditions = environment(options)
  const measured = new Set(outcomes.map(({ id }) => id))
  const before = readResults()
  const kept = before.text.includes(conditions) ? before.rows.filter(({ id }) => !measured.has(id)) : []
  const rows = [...kept, ...outcomes.map((outcome) => committed(line(outcome)))].toSorted(order)
  writeFileSync(
    RESULTS,
    `# Bench results

Made by \`npm run bench\`; the rows are explained in \`bench/README.md\`.

${conditions}

A ratio compares ours with the baseline of the same run, round by round: over 1 is better than the baseline. CPU is the
server process's own time per request. \`met\` says whether both ratios reach the target, or which one does. Garbage:
bytes that outlived a young collection for each answer, and full collections for a thousand answers; ours, then the
baseline's.

${HEAD}
${RULE}
${rows.map(({ text }) => text).join('\n')}
`,
  )
  writeFileSync(CHART, chart(rows))
}
