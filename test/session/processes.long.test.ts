import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { tagOf } from '../../src/session/id.js'
import { RedisSessionStore } from '../../src/session/redis-session-store.js'
import type { Sessions } from '../../src/session/sessions.js'
import { silentLogger } from '../support/logger.js'
import { RedisCluster } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-server.js'
import { everyOrder, type Process } from './orders.js'
import type { Act, Done, Gate, Request, Start } from './process-actor.js'

const PREFIX = 'processes'

/** A process of its own. */
class Actor {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(how: Omit<Start, 'prefix'>): Promise<Actor> {
    const child = fork(new URL('process-actor.ts', import.meta.url), { execArgv: ['--import', 'tsx'] })
    const actor = new Actor(child)
    child.send({ ...how, prefix: PREFIX } satisfies Start)
    const said = await actor.#next()
    if ('gate' in said || said.error !== undefined)
      throw new Error(`the process did not start: ${JSON.stringify(said)}`)
    return actor
  }

  /** `step`: called before each command of the request. */
  async request(request: Omit<Request, 'stepped'>, step?: (name: string) => Promise<void>): Promise<Done> {
    this.#child.send({ ...request, stepped: step !== undefined } satisfies Request)
    for (;;) {
      const said = await this.#next()
      if (!('gate' in said)) return said
      await step?.(said.gate)
      this.#child.send('go')
    }
  }

  async close(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.disconnect()
    await exited
  }

  async #next(): Promise<Gate | Done> {
    const [message] = (await once(this.#child, 'message')) as [Gate | Done]
    return message
  }
}

interface World {
  readonly user: string
  readonly seen: Set<string>
  cookie: string | undefined
  readonly results: (Done | undefined)[]
}

let users = 0

/** What the browser did before, what the two processes are asked, and what must hold in every order. */
type Race = readonly [name: string, before: readonly Act[], acts: readonly [Act, Act], check: Check]

type Check = (world: World, sessions: Sessions) => Promise<void>

const oneSignedIn: Check = async ({ seen, cookie, user }, sessions) => {
  // By the sign-in that counts, where one was as another user.
  expect([user, `${user}-other`]).toContain((await sessions.load(cookie)).subject)
  for (const other of seen) if (other !== cookie) expect((await sessions.load(other)).data).toEqual({})
}

const nobodySignedIn: Check = async (world, sessions) => {
  const { seen, user, results } = world
  // Ending is refused where the id of the request had been replaced: the browser has another one, and is signed in.
  if (results[1]?.error === 'moved') return oneSignedIn(world, sessions)
  expect(results[1]?.error).toBeUndefined()
  for (const cookie of seen) expect((await sessions.load(cookie)).subject).not.toBe(user)
  expect(await sessions.list(user)).toEqual([])
  expect([undefined, 'ended', 'revoked', 'moved']).toContain(results[0]?.error)
}

const bothKept: Check = async ({ cookie, results }, sessions) => {
  expect(results.map((done) => done?.error)).toEqual([undefined, undefined])
  expect((await sessions.load(cookie)).data).toMatchObject({ count: 1, views: 1 })
}

const keptOrRefused: Check = async (world, sessions) => {
  const { count } = (await sessions.load(world.cookie)).data
  const { error } = world.results[0] ?? {}
  expect([error, count]).toEqual(error === undefined ? [undefined, 1] : ['moved', undefined])
  await oneSignedIn(world, sessions)
}

const RACES: readonly Race[] = [
  ...(['write', 'rotate', 'touch', 'signInOther', 'end'] as const).map((act): Race => [
    `S1: ${act} does not bring back what another process ends`,
    ['signIn'],
    [act, 'end'],
    nobodySignedIn,
  ]),
  ...(['write', 'rotate', 'touch', 'signInOther', 'signOut'] as const).map((act): Race => [
    `S1: ${act} does not slip past revokeAll`,
    ['signIn'],
    [act, 'revokeAll'],
    nobodySignedIn,
  ]),
  ['S1: a sign-in does not slip past revokeAll', ['write'], ['signIn', 'revokeAll'], nobodySignedIn],
  ['S2: changes of different properties are both kept', ['signIn'], ['write', 'writeOther'], bothKept],
  ['S2: a change beside a sign-in is kept or refused', ['writeOther'], ['write', 'signIn'], keptOrRefused],
  ['S3: a browser that signs in stays signed in', ['write'], ['read', 'signIn'], oneSignedIn],
  ['S3: of two rotations one id counts', ['signIn'], ['rotate', 'rotate'], oneSignedIn],
]

describe.each(['a server', 'a cluster of three primaries'])('two processes, on %s', { timeout: 60_000 }, (where) => {
  let stop: () => Promise<void>
  let actors: readonly [Actor, Actor]
  let connection: Connection
  let store: RedisSessionStore

  beforeAll(async () => {
    const cluster = where !== 'a server'
    const servers = cluster ? await RedisCluster.start() : await startRedis()
    const { url } = servers
    connection = new Connection(
      resolveSettings({ url, cluster, commandTimeout: 5, connectTimeout: '5s' }, {}),
      silentLogger,
    )
    await connection.connect()
    store = new RedisSessionStore(connection, PREFIX)
    actors = await Promise.all([Actor.start({ url, cluster }), Actor.start({ url, cluster })])
    stop = async () => {
      await Promise.all(actors.map((actor) => actor.close()))
      await connection.close()
      await servers.close()
    }
  }, 60_000)
  afterAll(() => stop())

  const visit = async (world: World, actor: Actor, act: Act, process?: Process): Promise<Done> => {
    const { cookie, user } = world
    const done = await actor.request({ act, cookie, user }, process && ((name) => process.step(name)))
    await process?.step('answer')
    const [pair] = done.setCookie?.split(';') ?? []
    if (pair !== undefined) world.cookie = pair.endsWith('=') ? undefined : pair
    if (world.cookie !== undefined) world.seen.add(world.cookie)
    return done
  }

  const begin = async (before: readonly Act[]): Promise<World> => {
    const world: World = { user: `user-${(users += 1)}`, seen: new Set(), cookie: undefined, results: [] }
    for (const act of before) expect((await visit(world, actors[0], act)).error).toBeUndefined()
    return world
  }

  test.each(RACES)('%s', async (_, before, acts, check) => {
    const orders = await everyOrder<World>({
      store,
      setUp: () => begin(before),
      actors: acts.map((act, index) => async (world: World, process: Process) => {
        world.results[index] = await visit(world, actors[index] as Actor, act, process)
      }),
      check,
    })
    expect(orders).toBeGreaterThan(5)
  })

  test('S2: what two processes count in one session, neither loses', async () => {
    const world = await begin(['signIn'])
    const { cookie, user } = world
    const times = 200
    const done = await Promise.all([
      actors[0].request({ act: 'write', cookie, user, times }),
      actors[1].request({ act: 'writeOther', cookie, user, times }),
    ])
    expect(done.map(({ error }) => error)).toEqual([undefined, undefined])
    const reading = await actors[0].request({ act: 'read', cookie, user })
    expect(reading.error).toBeUndefined()
    const [handle = ''] = await store.handles(tagOf(user))
    const fields = await connection.execute(
      ['HMGET', `${PREFIX}:session:${handle}`, 'count', 'views'],
      `${PREFIX}:session:${handle}`,
    )
    expect(Array.isArray(fields) ? fields.map(String) : fields).toEqual([String(times), String(times)])
  })
})
