// npm run soak [-- seconds]: mixed traffic with random faults, ten minutes unless told otherwise.
import { growth, mebibytes, problemsOf, soak, type SoakReport } from './soak-run.js'
import type { Phase, Quantiles } from './soak-worker.js'

const DEFAULT_SECONDS = 600

function line(name: string, { count, p50Ms, p99Ms, maxMs }: Quantiles): string {
  return `  ${name.padEnd(14)} ${p50Ms.toFixed(2).padStart(8)} ${p99Ms.toFixed(2).padStart(8)} ${maxMs.toFixed(1).padStart(8)}   of ${count}`
}

function show({ findings, added, recoveryMs, heap, faults }: SoakReport): void {
  const sorted = recoveryMs.toSorted((a, b) => a - b)
  const at = (part: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0).toFixed(0)
  console.log(
    `\n${findings.reads} reads (${findings.hits} hits), ${findings.writes} writes: ${findings.wrong} wrong, ${findings.stale} stale`,
  )
  console.log('added to a request, ms:   median      p99  slowest')
  for (const phase of ['calm', 'first second', 'later'] as const satisfies readonly Phase[])
    console.log(line(phase, added[phase]))
  console.log(`recovery after a fault: median ${at(0.5)} ms, slowest ${at(1)} ms, of ${sorted.length}`)
  console.log(
    `heap: ${mebibytes(heap.at(-1) ?? 0)} at the end, ${mebibytes(growth(heap))} more than in the second third`,
  )
  for (const [name, count] of Object.entries(faults)) console.log(`  ${String(count).padStart(3)} x ${name}`)
}

const seconds = Number(process.argv[2] ?? DEFAULT_SECONDS)
const report = await soak(seconds, (name) => console.log(name))
show(report)
const problems = problemsOf(report)
for (const problem of problems) console.error(`PROBLEM: ${problem}`)
process.exitCode = problems.length === 0 ? 0 : 1
