import type { Bench, Variant } from '../harness/bench.js'
import { type TunedClient, tunedClient } from '../harness/client.js'
import type { Outcome, Params, Row, Running } from '../harness/row.js'
import { median, spread } from '../harness/stats.js'

const ENTRIES = [10, 1000, 100_000]
const OTHER_KEYS = 1_000_000
/** Invalidations of one group in one round. */
const BATCH = 20
const AT_MOST_RATIO = 1.5
const AT_MOST_MS = 2
const SET_AT_ONCE = 500

/** Entries of a group through the public API, and the time of an invalidation. */
async function groups({ redisUrl }: Params): Promise<Running> {
  const { createRedis } = await import('redwell')
  const redis = await createRedis({ url: redisUrl, prefix: 'bench', commandTimeout: '30s' }).connect()
  const commands = {
    async seed(entries: number) {
      for (let from = 0; from < entries; from += SET_AT_ONCE) {
        const some = Array.from({ length: Math.min(SET_AT_ONCE, entries - from) }, (_, n) => `g${entries}-${from + n}`)
        await Promise.all(some.map((key) => redis.cache.set(key, key, { ttl: '1h', group: `g${entries}` })))
      }
      if (!(await redis.cache.has(`g${entries}-${entries - 1}`))) throw new Error('not seeded')
    },
    async invalidate(entries: number) {
      const times: number[] = []
      for (let n = 0; n < BATCH; n++) {
        const startedAt = performance.now()
        await redis.cache.deleteGroup(`g${entries}`)
        times.push(performance.now() - startedAt)
      }
      if (await redis.cache.has(`g${entries}-0`)) throw new Error('an entry outlived its group')
      return times
    },
  }
  return {
    answer: (question) => commands[(question as [keyof typeof commands, number])[0]]((question as [string, number])[1]),
  }
}

/** Another client of the same server: asks all the time, and remembers the longest it had to wait. */
async function bystander({ redisUrl }: Params): Promise<Running> {
  const client = await tunedClient(redisUrl)
  let worst = 0
  const keepAsking = async (): Promise<never> => {
    for (;;) {
      const startedAt = performance.now()
      await client.ping()
      worst = Math.max(worst, performance.now() - startedAt)
    }
  }
  void keepAsking().catch((error: unknown) => console.error('bystander:', error))
  return {
    answer() {
      const seen = worst
      worst = 0
      return seen
    },
  }
}

interface Side {
  readonly otherKeys: number
  readonly ours: Variant
  readonly other: Variant
  readonly client: TunedClient
}

async function side(bench: Bench, otherKeys: number): Promise<Side> {
  const { url: redisUrl } = await bench.anotherRedis(['--enable-debug-command', 'yes', '--slowlog-max-len', '1024'])
  const client = await tunedClient(redisUrl)
  if (otherKeys > 0) await client.sendCommand(['DEBUG', 'POPULATE', String(otherKeys), 'other', '100'])
  const ours = await bench.start('groups', { redisUrl })
  for (const entries of ENTRIES) await ours.process.call('ask', ['seed', entries])
  await client.sendCommand(['CONFIG', 'SET', 'slowlog-log-slower-than', '500'])
  await client.sendCommand(['SLOWLOG', 'RESET'])
  return { otherKeys, ours, other: await bench.start('bystander', { redisUrl }), client }
}

interface Measured {
  readonly entries: number
  readonly otherKeys: number
  readonly times: number[]
  readonly stalls: number[]
}

export default {
  id: 'B9',
  subjects: { groups, bystander },
  async run(bench: Bench) {
    const quiet = await side(bench, 0)
    const sides = [quiet, await side(bench, OTHER_KEYS)]
    const cases = sides.flatMap((at) =>
      ENTRIES.map((entries) => ({
        at,
        entries,
        otherKeys: at.otherKeys,
        times: [] as number[],
        stalls: [] as number[],
      })),
    )
    const idle: number[] = []
    for (let round = -2; round < bench.options.rounds; round++) {
      for (const one of cases) {
        await one.at.other.process.call('ask')
        const times = await one.at.ours.process.call<number[]>('ask', ['invalidate', one.entries])
        const worst = await one.at.other.process.call<number>('ask')
        if (round < 0) continue
        one.times.push(median(times))
        one.stalls.push(worst)
      }
      // The same server for as long, while nothing is invalidated: what this machine does to the bystander by itself.
      await quiet.other.process.call('ask')
      await new Promise((resolve) => setTimeout(resolve, BATCH * median(cases[0]?.times ?? [1])))
      const undisturbed = await quiet.other.process.call<number>('ask')
      if (round >= 0) idle.push(undisturbed)
    }
    const slow = await Promise.all(sides.map(({ client }) => client.sendCommand<unknown[]>(['SLOWLOG', 'GET', '10'])))
    for (const { client } of sides) client.destroy()
    return outcomes(cases, idle, slow.flat().length)
  },
} satisfies Row

function outcomes(cases: readonly Measured[], idle: readonly number[], slowCommands: number): Outcome[] {
  const [base] = cases
  return cases.slice(1).map(({ entries, otherKeys, times, stalls }) => {
    const ratio = spread(times.map((ms, round) => ms / (base?.times[round] ?? 0)))
    const good = ratio.median <= AT_MOST_RATIO && median(times) < AT_MOST_MS && Math.max(...stalls) < AT_MOST_MS
    return {
      id: 'B9',
      what: `invalidating a group of ${entries.toLocaleString('en')} among ${otherKeys.toLocaleString('en')} other keys, against 10 among none`,
      figures:
        `time ${ratio.median.toFixed(2)} x (${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)}), ${median(times).toFixed(2)} ms; ` +
        `another client's worst wait per ${BATCH}: median ${median(stalls).toFixed(2)} ms, largest ${Math.max(...stalls).toFixed(2)} ms ` +
        `(nothing invalidated: median ${median(idle).toFixed(2)}, largest ${Math.max(...idle).toFixed(2)}); commands over 0.5 ms in the server: ${slowCommands}`,
      target: `<= ${AT_MOST_RATIO} x, < ${AT_MOST_MS} ms; wait < ${AT_MOST_MS} ms`,
      met: good ? 'yes' : 'no',
    }
  })
}
