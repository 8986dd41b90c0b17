import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { BenchOptions } from './bench.js'
import type { Outcome } from './row.js'
import type { Spread } from './stats.js'

const RESULTS = new URL('../RESULTS.md', import.meta.url)

const HEAD = '| row | what | rate, ratio (quartiles) | CPU, ratio (quartiles) | figures | target | met | measured |'
const RULE = '|---|---|---|---|---|---|---|---|'

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

export function line({ id, what, rate, cpu, figures, target, met }: Outcome): string {
  const day = new Date().toISOString().slice(0, 10)
  return `| ${id} | ${what} | ${ratio(rate)} | ${ratio(cpu)} | ${figures} | ${target} | ${met} | ${day} |`
}

/** Lines of rows that this run did not measure, where they were measured under the same conditions. */
function kept(conditions: string, measured: ReadonlySet<string>): string[] {
  if (!existsSync(RESULTS)) return []
  const text = readFileSync(RESULTS, 'utf8')
  if (!text.includes(conditions)) return []
  return text.split('\n').filter((row) => /^\| B\d+(-\w+)? \|/.test(row) && !measured.has(idOf(row)))
}

function idOf(row: string): string {
  return row.split('|')[1]?.trim() ?? ''
}

function numberOf(row: string): number {
  return Number(/\d+/.exec(idOf(row))?.[0])
}

/** Writes the results, keeping lines of rows that this run left out. */
export function writeResults(outcomes: readonly Outcome[], options: BenchOptions): void {
  const conditions = environment(options)
  const rows = [...kept(conditions, new Set(outcomes.map(({ id }) => id))), ...outcomes.map(line)]
  rows.sort((a, b) => numberOf(a) - numberOf(b))
  writeFileSync(
    RESULTS,
    `# Bench results

Made by \`npm run bench\`; the rows are explained in \`bench/README.md\`.

${conditions}

A ratio compares ours with the baseline of the same run, round by round: over 1 is better than the baseline. CPU is the
server process's own time per request. \`met\` says whether both ratios reach the target, or which one does.

${HEAD}
${RULE}
${rows.join('\n')}
`,
  )
}
