/* oxlint-disable vitest/no-conditional-expect -- what must hold depends on the order */
import { expect, test } from 'vitest'
import type { Session } from '../../src/index.js'
import type { SessionStore } from '../../src/session/session-store.js'
import type { Sessions } from '../../src/session/sessions.js'
import { Browser, everyOrder, type Process, type Scenario } from './orders.js'

let users = 0

interface World {
  readonly user: string
  readonly browser: Browser
  /** Results of requests, by name. */
  readonly results: Record<string, 'done' | Error>
}

type Act = (session: Session, world: World, process: Process) => unknown

const signIn: Act = ({ data }, { user }) => void (data.userId = user)
const write: Act = ({ data }) => void (data.count = 1)
const writeOther: Act = ({ data }) => void (data.theme = 'dark')
const read: Act = ({ data }) => data.count
const rotate: Act = (session) => session.rotate()
const touch: Act = (session) => session.touch()
const end: Act = (session) => session.end()
const signOut: Act = ({ data }) => delete data.userId

/** A request of the browser as an actor. */
const request =
  (name: string, act: Act) =>
  async (world: World, process: Process): Promise<void> => {
    try {
      await world.browser.visit(process, (session) => act(session, world, process))
      world.results[name] = 'done'
    } catch (error) {
      world.results[name] = error as Error
    }
  }

const operator =
  (work: (sessions: Sessions, world: World) => Promise<unknown>) =>
  (world: World, { sessions }: Process): Promise<unknown> =>
    work(sessions, world)

const revokeAll = operator((sessions, { user }) => sessions.revokeAll(user))
const revokeOne = operator(async (sessions, { user }) => {
  const [device] = await sessions.list(user)
  if (device !== undefined) await sessions.revoke(user, device.handle)
})

const setUp =
  (...before: Act[]) =>
  async (sessions: Sessions): Promise<World> => {
    const world: World = { user: `user-${(users += 1)}`, browser: new Browser(), results: {} }
    for (const act of before) await world.browser.ask(sessions, (session) => act(session, world, {} as Process))
    return world
  }

/** No cookie that was ever sent opens a session of the user. */
async function nobodySignedIn({ user, browser }: World, sessions: Sessions): Promise<void> {
  for (const cookie of browser.seen) {
    const session = await sessions.load(cookie)
    expect(session.subject).not.toBe(user)
  }
  expect(await sessions.list(user)).toEqual([])
}

/** The browser is signed in, by its last cookie and by no other. */
async function signedIn({ user, browser }: World, sessions: Sessions): Promise<Session> {
  const session = await sessions.load(browser.cookie)
  expect(session.subject).toBe(user)
  for (const cookie of browser.seen)
    if (cookie !== browser.cookie) expect((await sessions.load(cookie)).data).toEqual({})
  return session
}

const scenario = (
  store: SessionStore,
  before: Act[],
  actors: Scenario<World>['actors'],
  check: Scenario<World>['check'],
  options: Scenario<World>['options'] = {},
): Promise<number> => everyOrder({ store, setUp: setUp(...before), actors, check, options })

/** S1 to S3, over every order of the commands. `wide`: three requests at once as well. */
export function races(store: () => SessionStore, { wide }: { readonly wide: boolean }): void {
  test.each<[string, Act[]]>([
    ['a change', [write]],
    ['two changes', [write, writeOther]],
    ['a rotation', [rotate]],
    ['a touch', [touch]],
    ['a sign-out by the data', [signOut]],
    ['a sign-in as another', [({ data }, { user }) => void (data.userId = `${user}-other`)]],
    ['a rotation and a change', [rotate, write]],
  ])('S1: what was signed out stays signed out: %s', async (_, all) => {
    const others = wide ? all : all.slice(0, 1)
    const actors = [request('end', end), ...others.map((act, index) => request(String(index), act))]
    await scenario(store(), [signIn], actors, async (world, sessions) => {
      // With the id of before a rotation nobody is signed out: the request is told so.
      if (world.results['end'] !== 'done') expect(world.results['end']).toMatchObject({ reason: 'moved' })
      else await nobodySignedIn(world, sessions)
    })
  })

  test.each<[string, Act[], Act]>([
    ['a first sign-in', [], signIn],
    ['a sign-in of a visitor', [write], signIn],
    ['a rotation', [signIn], rotate],
    ['a change', [signIn], write],
    ['a touch', [signIn], touch],
    ['a sign-in once more', [signIn, signOut], signIn],
    ['a sign-in as another', [signIn], ({ data }, { user }) => void (data.userId = `${user}-other`)],
    ['a sign-out by the data', [signIn, write], signOut],
  ])('S1: revokeAll ends what is under way, and refuses what comes later: %s', async (_, before, act) => {
    await scenario(store(), before, [request('act', act), revokeAll], async (world, sessions, steps) => {
      await nobodySignedIn(world, sessions)
      const at = steps.indexOf('1.revokeAll')
      const wrote = steps.findLastIndex((step) => /^0\.(save|create|rotate)$/.test(step))
      // A visit that began afterwards has no session: it is an anonymous one.
      const wasThere = before.includes(signIn) && steps.indexOf('0.load') < at
      if (world.results['act'] === 'done' && wasThere) expect(wrote).toBeLessThan(at)
      else if (world.results['act'] !== 'done')
        expect(world.results['act']).toMatchObject({ statusCode: 409, reason: expect.stringMatching(/ended|revoked/) })
    })
  })

  test('S1: what was loaded before a revokeAll is as ended as what was loaded before a revoke', async () => {
    const after = async (world: World, sessions: Sessions): Promise<void> => {
      const [device] = await sessions.list(world.user)
      if (device !== undefined) await sessions.revoke(world.user, device.handle)
    }
    for (const revoke of [after, (world: World, sessions: Sessions) => sessions.revokeAll(world.user)])
      for (const act of [writeOther, touch, rotate, signOut])
        await scenario(
          store(),
          [signIn, write],
          [
            async (world, process) => {
              const session = await process.sessions.load(world.browser.cookie)
              await revoke(world, process.sessions)
              await act(session, world, process)
              world.results['save'] = await session.save().then(
                () => 'done',
                (error: Error) => error,
              )
            },
          ],
          async (world, sessions) => {
            expect(world.results['save']).toMatchObject({ statusCode: 409 })
            await nobodySignedIn(world, sessions)
            expect((await sessions.load(world.browser.cookie)).data).toEqual({})
          },
        )
  })

  test('S1: a session that is revoked by its handle is not brought back by a rotation, a change or a touch', async () => {
    for (const act of [rotate, write, touch, signIn])
      await scenario(store(), [signIn], [request('act', act), revokeOne], async (world, sessions) => {
        const list = await sessions.list(world.user)
        // The list may have been read before a sign-in was in it.
        if (list.length === 0) await nobodySignedIn(world, sessions)
      })
  })

  test('S1: a revocation spares the session that it names; what is listed is what can be loaded', async () => {
    const spare: Act = (session, { user }, { sessions }) => sessions.revokeAll(user, { except: session })
    const others = wide ? [rotate, write] : [rotate]
    const actors = [request('spare', spare), ...others.map((act, index) => request(String(index), act))]
    await scenario(store(), [signIn], actors, async (world, sessions, steps) => {
      const loaded = await Promise.all([...world.browser.seen].map((cookie) => sessions.load(cookie)))
      const alive = loaded.filter(({ subject }) => subject === world.user).map(({ handle }) => handle)
      const listed = await sessions.list(world.user)
      expect(listed.map(({ handle }) => handle)).toEqual(alive)
      // Unless the request that names it came with an id from before a rotation, which names nothing.
      if (steps.indexOf('1.rotate') === -1 || steps.indexOf('0.load') < steps.indexOf('1.rotate'))
        expect(alive).toHaveLength(1)
    })
  })

  test('S2: concurrent changes of different properties are all kept, over a rotation too', async () => {
    await scenario(
      store(),
      [signIn],
      [request('one', write), ...(wide ? [request('two', writeOther)] : []), request('rotate', rotate)],
      async (world, sessions) => {
        const { data } = await signedIn(world, sessions)
        const kept = (name: string) => world.results[name] === 'done'
        expect([kept('rotate'), data.count, data.theme]).toEqual([
          true,
          kept('one') ? 1 : undefined,
          kept('two') ? 'dark' : undefined,
        ])
        // Refused are only those that came with the old id when it was replaced.
        for (const name of wide ? ['one', 'two'] : ['one'])
          if (!kept(name)) expect(world.results[name]).toMatchObject({ reason: 'moved' })
      },
    )
  })

  test('S2: a change beside a sign-in is kept or refused, never lost and never for the wrong one', async () => {
    await scenario(
      store(),
      [({ data }) => void (data.cart = ['a'])],
      [request('signs', signIn), request('writes', write)],
      async (world, sessions) => {
        const { data } = await signedIn(world, sessions)
        const wrote = world.results['writes'] === 'done'
        expect(data).toEqual({ cart: ['a'], userId: world.user, ...(wrote && { count: 1 }) })
        if (!wrote) expect(world.results['writes']).toMatchObject({ reason: 'moved', statusCode: 409 })
      },
    )
  })

  test('S3: a browser that signs in stays signed in, in whatever order its answers come', async () => {
    await scenario(
      store(),
      [({ data }) => void (data.cart = ['a'])],
      [request('signs', signIn), request('reads', read), ...(wide ? [request('writes', write)] : [])],
      async (world, sessions) => void (await signedIn(world, sessions)),
    )
  })

  test('S3: of two sign-ins by one session one counts, and its answer says so', async () => {
    await scenario(
      store(),
      [({ data }) => void (data.cart = ['a'])],
      [request('one', signIn), request('two', ({ data }, { user }) => void (data.userId = `${user}-two`))],
      async (world, sessions) => {
        const { subject } = await sessions.load(world.browser.cookie)
        const done = ['one', 'two'].filter((name) => world.results[name] === 'done')
        expect(done.length).toBeGreaterThan(0)
        // Both count where the second began with the id of before the first, which makes a session of its own.
        expect([world.user, `${world.user}-two`]).toContain(subject)
      },
    )
  })

  test('of sign-ins at once no more than maxPerSubject stay', async () => {
    const own =
      (name: string) =>
      async (world: World, process: Process): Promise<void> => {
        const browser = new Browser()
        await browser.visit(process, (session) => signIn(session, world, process)).catch(() => {})
        for (const cookie of browser.seen) world.browser.seen.add(cookie)
        world.results[name] = 'done'
      }
    await scenario(
      store(),
      [],
      [own('one'), own('two')],
      async ({ user, browser }, sessions) => {
        expect(await sessions.list(user)).toHaveLength(1)
        const subjects = await Promise.all(
          [...browser.seen].map(async (cookie) => (await sessions.load(cookie)).subject),
        )
        expect(subjects.filter((subject) => subject !== undefined)).toHaveLength(1)
      },
      { maxPerSubject: 1 },
    )
  })
}
