import type { Bench } from '../harness/bench.js'
import { type TunedClient, tunedClient } from '../harness/client.js'
import type { Outcome, Params, Row, Running } from '../harness/row.js'
import { dataOf, READ, redwellSessions, visits } from '../harness/sessions.js'
import { median } from '../harness/stats.js'

const SESSIONS = [1, 100, 10_000] as const

const REVOCATIONS = 60

const SIGN_INS_AT_ONCE = 100

/** Scripts that are run again, and how often each in a round. */
const COMMANDS = 200

const REPEATS = 20

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

type Logged = readonly [id: number, at: number, us: number, args: readonly Buffer[]]

/** The scripts that the server has run since it was last asked, and whose keys are like this. */
async function scriptsRun(client: TunedClient, keys: RegExp): Promise<readonly Logged[]> {
  const log = (await client.sendCommand(['SLOWLOG', 'GET', '-1'])) as unknown as Logged[]
  await client.sendCommand(['SLOWLOG', 'RESET'])
  return log.filter(([, , , args]) => String(args[0]) === 'EVALSHA' && keys.test(args.slice(3).join(' ')))
}

interface Revoked {
  readonly user: string
  readonly count: number
  /** The subject's record and index, as DUMP gives them. */
  readonly copies: readonly (readonly [key: string, copy: Buffer])[]
}

/** Each round revokes all of one, of a hundred and of ten thousand, so that what changes over time changes all of them. */
async function revocations(bench: Bench, client: TunedClient): Promise<Outcome[]> {
  const variant = await bench.start('accounts')
  const subjects: Revoked[] = []
  for (const count of SESSIONS) {
    const user = `user-of-${count}`
    await scriptsRun(client, /^/)
    await variant.process.call('ask', ['signIn', user, count])
    const [run] = await scriptsRun(client, /^accounts:subject/)
    const keys = (run?.[3] ?? []).slice(3, 5).map(String)
    const copies = await Promise.all(keys.map(async (key) => [key, await client.dump(key)] as const))
    subjects.push({ user, count, copies })
  }
  await scriptsRun(client, /^/)
  for (let turn = 0; turn < REVOCATIONS; turn += 1) {
    for (const [key, copy] of subjects.flatMap(({ copies }) => copies))
      await client.sendCommand(['RESTORE', key, '3600000', copy, 'REPLACE'])
    for (const { user, count } of [...subjects.slice(turn % 3), ...subjects.slice(0, turn % 3)]) {
      const revoked = await variant.process.call<number>('ask', ['revokeAll', user])
      if (revoked !== count) throw new Error(`${revoked} sessions were revoked, of ${count}`)
    }
  }
  await variant.process.close()
  const log = await scriptsRun(client, /^accounts:subject/)
  const times = subjects.map(({ copies }) =>
    median(log.filter(([, , , args]) => String(args[3]) === copies[0]?.[0]).map(([, , us]) => us)),
  )
  return subjects.map(({ count }, index): Outcome => {
    const [us = Number.NaN, one = Number.NaN] = [times[index], times[0]]
    return {
      id: 'B30',
      what: `revokeAll of ${count.toLocaleString('en')}, Redis' own time against that of one session`,
      figures: `${us.toFixed(0)} µs, ${(us / one).toFixed(2)} x`,
      target: `<= ${MOST_RATIO} x`,
      met: us / one <= MOST_RATIO ? 'yes' : 'no',
    }
  })
}

/** Sends the very commands again, without the log, which costs as much as they do. Microseconds of each in the median round. */
async function timeOf(bench: Bench, client: TunedClient, commands: readonly Logged[]): Promise<number> {
  const rounds: number[] = []
  for (let round = 0; round < bench.options.rounds; round += 1) {
    await client.configResetStat()
    for (let repeat = 0; repeat < REPEATS; repeat += 1)
      await Promise.all(commands.map(([, , , args]) => client.sendCommand([...args])))
    const stats = await client.info('commandstats')
    rounds.push(Number(/^cmdstat_evalsha:.*usec_per_call=([\d.]+)/m.exec(stats)?.[1]))
  }
  return median(rounds)
}

async function scripts(bench: Bench, client: TunedClient): Promise<Outcome[]> {
  const [app, own] = [await bench.start('sessions'), await bench.start('accounts')]
  const requests = await visits(bench, app, READ)
  const handle = await bench.prepare(app, { requests })
  // The scripts are known to the server then, and subjects have a few sessions, as people have.
  const use = async (): Promise<void> => {
    await bench.send(handle, { count: requests.length })
    for (let user = 0; user < COMMANDS; user += 1) await own.process.call('ask', ['signIn', `user-${user}`, 1])
  }
  await use()
  await use()
  const log = await scriptsRun(client, /^/)
  const like = (keys: RegExp): Logged[] =>
    log.filter(([, , , args]) => keys.test(args.slice(3).join(' '))).slice(0, COMMANDS)
  const [loads, admissions] = [like(/^\S+:session:\S+ \S+:subject:/), like(/^accounts:subject/)]
  if (loads.length < COMMANDS || admissions.length < COMMANDS) throw new Error('not every script was logged')
  await client.configSet('slowlog-log-slower-than', '-1')
  return [
    outcomeOf("Redis' own time of a session load, 1 KB", await timeOf(bench, client, loads), LOAD_US),
    outcomeOf("Redis' own time of the admission of a sign-in", await timeOf(bench, client, admissions), ADMIT_US),
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
