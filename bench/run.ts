// npm run bench [-- B2 B3] [--rounds N] [--round-ms N] [--connections N]
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Bench, type BenchOptions } from './harness/bench.js'
import { line, writeResults } from './harness/report.js'
import type { Outcome, Row } from './harness/row.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '12' },
    'round-ms': { type: 'string', default: '300' },
    connections: { type: 'string', default: '32' },
  },
})

const options: BenchOptions = {
  rounds: Number(values.rounds),
  roundMs: Number(values['round-ms']),
  connections: Number(values.connections),
}

// The servers end with this process; their parent has to end by itself for that.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

const folder = new URL('rows/', import.meta.url)
const number = (text: string): number => Number(/\d+/.exec(text)?.[0])
const files = readdirSync(folder).toSorted((a, b) => number(a) - number(b))

async function measure(file: string): Promise<Outcome[]> {
  const module = new URL(file, folder)
  const { default: row } = (await import(module.href)) as { default: Row }
  if (positionals.length > 0 && !positionals.includes(row.id)) return []
  const bench = await Bench.open(module, options)
  try {
    const outcomes = await row.run(bench)
    for (const outcome of outcomes) console.log(line(outcome))
    return outcomes
  } catch (error) {
    process.exitCode = 1
    console.error(`${row.id} could not be measured:`, error)
    return []
  } finally {
    await bench.close()
  }
}

const outcomes: Outcome[] = []
for (const file of files) outcomes.push(...(await measure(file)))
if (outcomes.length > 0) writeResults(outcomes, options)
// A row that failed may have left a connection open.
process.exit()
