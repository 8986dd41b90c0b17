import { execFileSync } from 'node:child_process'
import type { Bench } from '../harness/bench.js'
import type { Outcome, Row } from '../harness/row.js'
import { spread } from '../harness/stats.js'

const RUNS = 24

const MODULES = [
  { specifier: 'redwell', atMostMs: 18 },
  { specifier: 'redwell/fastify', atMostMs: 30 },
] as const

const EMPTY = 'data:text/javascript,'

const TURN_AT_MOST_MS = 20

/** Milliseconds that a process of its own waits for one import. */
function importMs(specifier: string): number {
  return printed(`const t = performance.now(); await import('${specifier}'); console.log(performance.now() - t)`)
}

/** The longest turn of the event loop from the first `createRedis` of a process until it is connected. */
function longestTurnMs(url: string): number {
  return printed(`
    const { createRedis } = await import('redwell')
    let last = performance.now(), longest = 0, ended = false
    const turn = () => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
      if (!ended) setImmediate(turn)
    }
    turn()
    await new Promise((resolve) => setTimeout(resolve, 20))
    longest = 0
    const redis = await createRedis({ url: '${url}' }).connect()
    await new Promise((resolve) => setTimeout(resolve, 20))
    ended = true
    console.log(longest)
    process.exit()`)
}

function printed(script: string): number {
  return Number(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }))
}

function outcome(what: string, times: readonly number[], atMostMs: number): Outcome {
  const { low, median, high } = spread(times)
  return {
    id: 'B16',
    what,
    figures: `${median.toFixed(1)} ms (${low.toFixed(1)}–${high.toFixed(1)})`,
    target: `<= ${atMostMs} ms`,
    met: median <= atMostMs ? 'yes' : 'no',
  }
}

export default {
  id: 'B16',
  run(bench: Bench) {
    const times = MODULES.map(() => [] as number[])
    const turns: number[] = []
    for (let run = -1; run < Math.max(RUNS, bench.options.rounds); run++) {
      MODULES.forEach(({ specifier }, index) => {
        const ms = importMs(specifier) - importMs(EMPTY)
        if (run >= 0) times[index]?.push(ms)
      })
      const turn = longestTurnMs(bench.redis.url)
      if (run >= 0) turns.push(turn)
    }
    return Promise.resolve([
      ...MODULES.map(({ specifier, atMostMs }, index) =>
        outcome(`import of ${specifier} over an empty module`, times[index] ?? [], atMostMs),
      ),
      outcome('longest turn of the first createRedis until it is connected', turns, TURN_AT_MOST_MS),
    ])
  },
} satisfies Row
