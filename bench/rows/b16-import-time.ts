import { execFileSync } from 'node:child_process'
import type { Bench } from '../harness/bench.js'
import type { Row } from '../harness/row.js'
import { spread } from '../harness/stats.js'

const RUNS = 24

const MODULES = [
  { specifier: 'redwell', atMostMs: 30 },
  { specifier: 'redwell/fastify', atMostMs: 60 },
] as const

const EMPTY = 'data:text/javascript,'

/** Milliseconds that a process of its own waits for one import. */
function importMs(specifier: string): number {
  const script = `const t = performance.now(); await import('${specifier}'); console.log(performance.now() - t)`
  return Number(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }))
}

export default {
  id: 'B16',
  run(bench: Bench) {
    const times = MODULES.map(() => [] as number[])
    for (let run = -1; run < Math.max(RUNS, bench.options.rounds); run++) {
      MODULES.forEach(({ specifier }, index) => {
        const ms = importMs(specifier) - importMs(EMPTY)
        if (run >= 0) times[index]?.push(ms)
      })
    }
    return Promise.resolve(
      MODULES.map(({ specifier, atMostMs }, index) => {
        const { low, median, high } = spread(times[index] ?? [])
        return {
          id: 'B16',
          what: `import of ${specifier} over an empty module`,
          figures: `${median.toFixed(1)} ms (${low.toFixed(1)}–${high.toFixed(1)})`,
          target: `<= ${atMostMs} ms`,
          met: median <= atMostMs ? ('yes' as const) : ('no' as const),
        }
      }),
    )
  },
} satisfies Row
