// npm run bench [-- B2 B3] [--check] [--short] [--rounds N] [--round-ms N] [--connections N]: see bench/README.md.
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Bench, type BenchOptions } from './harness/bench.js'
import { comparable, slower, told } from './harness/check.js'
import { line, writeResults } from './harness/report.js'
import type { Outcome, Row } from './harness/row.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    check: { type: 'boolean', default: false },
    short: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    'round-ms': { type: 'string' },
    connections: { type: 'string', default: '32' },
  },
})
const { check, short } = values

const options: BenchOptions = {
  rounds: Number(values.rounds ?? (short ? 8 : 12)),
  roundMs: Number(values['round-ms'] ?? (short ? 200 : 300)),
  connections: Number(values.connections),
  short,
}

// The servers end with this process; their parent has to end by itself for that.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

const folder = new URL('rows/', import.meta.url)
const number = (text: string): number => Number(/\d+/.exec(text)?.[0])
const files = readdirSync(folder).toSorted((a, b) => number(a) - number(b))

const isChosen = ({ id, short: quick }: Row): boolean =>
  (positionals.length === 0 || positionals.includes(id)) && (!short || quick === true)

async function measure(file: string): Promise<Outcome[]> {
  const module = new URL(file, folder)
  const { default: row } = (await import(module.href)) as { default: Row }
  if (!isChosen(row)) return []
  const first = await measured(row, module)
  if (first !== undefined && (!check || slower(first, options.rounds).length === 0)) return first
  // Whatever else the machine did meanwhile may be why. A slower change is slow again.
  console.log(`${row.id} is measured once more`)
  const second = await measured(row, module)
  if (second === undefined) process.exitCode = 1
  return second ?? []
}

/** Undefined where it could not be: a machine that stalls has misses in a row of hits. */
async function measured(row: Row, module: URL): Promise<Outcome[] | undefined> {
  const bench = await Bench.open(module, options)
  try {
    const outcomes = await row.run(bench)
    for (const outcome of outcomes) console.log(line(outcome))
    return outcomes
  } catch (error) {
    console.error(`${row.id} could not be measured:`, error)
    return undefined
  } finally {
    await bench.close()
  }
}

const outcomes: Outcome[] = []
for (const file of files) outcomes.push(...(await measure(file)))

if (check) {
  const found = slower(outcomes, options.rounds)
  for (const one of found) console.error(`SLOWER: ${told(one)}`)
  console.log(`${comparable(outcomes)} rows compared with bench/RESULTS.md, ${found.length} slower`)
  if (found.length > 0) process.exitCode = 1
} else if (outcomes.length > 0) writeResults(outcomes, options)
// A row that failed may have left a connection open.
process.exit()
