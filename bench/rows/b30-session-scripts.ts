import type { Bench } from '../harness/bench.js'
import { type TunedClient, tunedClient } from '../harness/client.js'
import type { Outcome, Params, Row, Running } from '../harness/row.js'
import { dataOf, READ, redwellSessions, visits } from '../harness/sessions.js'
import { median } from '../harness/stats.js'

const SESSIONS = [1, 100, 10_000] as const

const REVOCATIONS = 40

const SIGN_INS_AT_ONCE = 100

const LOADS = 20_000

const SIGN_INS = 4000

/** At most so many times what the revocation of one session takes. */
const MOST_RATIO = 1.5

const LOAD_US = 12

const ADMIT_US = 20

/** Signs in and revokes, through the public API. */
async function accounts({ redisUrl }: Params): Promise<Running> {
  const { createRedis } = await import('redwell')
  const redis = await createRedis({ url: redisUrl, prefix: 'accounts', commandTimeout: '10s' }).connect()
  const commands = {
    async signIn(user: string, count: number) {
      for (let from = 0; from < count; from += SIGN_INS_AT_ONCE) {
        const some = Array.from({ length: Math.min(SIGN_INS_AT_ONCE, count - from) }, async () => {
          const session = await redis.sessions.load(undefined)
          Object.assign(session.data, dataOf(user, 1024))
          await session.save()
        })
        await Promise.all(some)
      }
    },
    revokeAll: (user: string) => redis.sessions.revokeAll(user),
  }
  type Question = readonly ['signIn', string, number] | readonly ['revokeAll', string]
  return {
    answer(asked) {
      const [what, user, count = 0] = asked as Question
      return what === 'signIn' ? commands.signIn(user, count) : commands.revokeAll(user)
    },
  }
}

/** Microseconds of each script whose keys are like this, by the server's own account since it was last asked. */
async function scriptTimes(client: TunedClient, keys: RegExp): Promise<number[]> {
  const log = (await client.sendCommand(['SLOWLOG', 'GET', '-1'])) as unknown as [number, number, number, Buffer[]][]
  await client.sendCommand(['SLOWLOG', 'RESET'])
  return log
    .filter(([, , , args]) => String(args[0]) === 'EVALSHA' && keys.test(args.slice(3).join(' ')))
    .map(([, , us]) => us)
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

async function revocations(bench: Bench, client: TunedClient): Promise<Outcome[]> {
  const variant = await bench.start('accounts')
  const outcomes: Outcome[] = []
  let one = Number.NaN
  for (const count of SESSIONS) {
    const user = `user-of-${count}`
    await client.flushAll()
    await variant.process.call('ask', ['signIn', user, count])
    // The same record and index before each revocation.
    const keys = (await client.keys('accounts:subject:*')).map(String)
    const copies = await Promise.all(keys.map(async (key) => [key, await client.dump(key)] as const))
    await scriptTimes(client, /^/)
    for (let turn = 0; turn < REVOCATIONS; turn += 1) {
      for (const [key, copy] of copies) await client.sendCommand(['RESTORE', key, '3600000', copy as never, 'REPLACE'])
      const revoked = await variant.process.call<number>('ask', ['revokeAll', user])
      if (revoked !== count) throw new Error(`${revoked} sessions were revoked, of ${count}`)
    }
    const us = median(await scriptTimes(client, /^accounts:subject/))
    if (count === 1) one = us
    outcomes.push({
      id: 'B30',
      what: `revokeAll of ${count.toLocaleString('en')} sessions, Redis' own time against that of one`,
      figures: `${us.toFixed(0)} µs, ${(us / one).toFixed(2)} x`,
      target: `<= ${MOST_RATIO} x`,
      met: us / one <= MOST_RATIO ? 'yes' : 'no',
    })
  }
  await variant.process.close()
  return outcomes
}

async function scripts(bench: Bench, client: TunedClient): Promise<Outcome[]> {
  await client.flushAll()
  const [app, own] = [await bench.start('sessions'), await bench.start('accounts')]
  const handle = await bench.prepare(app, { requests: await visits(bench, app, READ) })
  await bench.send(handle, { count: LOADS })
  await scriptTimes(client, /^/)
  await bench.send(handle, { count: LOADS })
  const load = mean(await scriptTimes(client, /:session:\S+ \S+:subject:/))
  await own.process.call('ask', ['signIn', 'ann', 100])
  await scriptTimes(client, /^/)
  // Each subject has a few sessions, as people have.
  for (let user = 0; user < SIGN_INS / 4; user += 1) await own.process.call('ask', ['signIn', `user-${user}`, 4])
  const admit = mean(await scriptTimes(client, /^accounts:subject/))
  return [
    outcomeOf('Redis’ own time of a session load, 1 KB', load, LOAD_US),
    outcomeOf('Redis’ own time of the admission of a sign-in', admit, ADMIT_US),
  ]
}

function outcomeOf(what: string, us: number, most: number): Outcome {
  const [figures, target] = [`${us.toFixed(1)} µs`, `<= ${most} µs`]
  return { id: 'B31', what, figures, target, met: us <= most ? 'yes' : 'no' }
}

export default {
  id: 'B30',
  subjects: { accounts, sessions: redwellSessions(1024) },
  async run(bench: Bench) {
    const client = await tunedClient(bench.redis.url)
    await client.configSet({ 'slowlog-log-slower-than': '0', 'slowlog-max-len': '100000' })
    const outcomes = [...(await revocations(bench, client)), ...(await scripts(bench, client))]
    client.destroy()
    return outcomes
  },
} satisfies Row
