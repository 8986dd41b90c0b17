import type { SessionStore } from '../../src/session/session-store.js'
import { Sessions } from '../../src/session/sessions.js'
import type { Session, SessionOptions } from '../../src/index.js'
import { SessionRecorder } from '../../src/telemetry/outcomes.js'
import { silentLogger } from '../support/logger.js'

/**
 * Runs actors in every order of the commands that they send: one command at a time is let through, and each choice that
 * could have been another one is made in another run. Each actor is a process of its own with the same store behind it.
 */
export async function everyOrder<World>(scenario: Scenario<World>): Promise<number> {
  let orders = 0
  let choices: Choice[] | undefined = []
  while (choices !== undefined) {
    const made = await runOnce(scenario, choices)
    orders += 1
    choices = nextOf(made)
  }
  return orders
}

export interface Scenario<World> {
  readonly store: SessionStore
  readonly options?: SessionOptions
  /** Before the actors start; its commands are not steps. */
  readonly setUp: (sessions: Sessions) => Promise<World>
  readonly actors: readonly ((world: World, process: Process) => Promise<unknown>)[]
  /** What must hold in the end. `steps`: what was let through, in order. */
  readonly check: (world: World, sessions: Sessions, steps: readonly string[]) => Promise<void>
}

/** What an actor has. */
export interface Process {
  readonly sessions: Sessions
  /** Something that has an order but is no command, such as an answer that reaches the browser. */
  step(name: string): Promise<void>
}

interface Choice {
  readonly taken: number
  readonly of: number
}

function nextOf(made: readonly Choice[]): Choice[] | undefined {
  for (let at = made.length - 1; at >= 0; at -= 1) {
    const choice = made[at]
    if (choice !== undefined && choice.taken + 1 < choice.of)
      return [...made.slice(0, at), { taken: choice.taken + 1, of: choice.of }]
  }
  return undefined
}

class Actor {
  finished = false
  #go: (() => void) | undefined
  #event: () => void = () => {}
  waitingFor = ''

  /** Resolves when the actor waits for its next step, or is done. */
  settled(): Promise<void> {
    return new Promise((resolve) => (this.#event = resolve))
  }

  gate(name: string): Promise<void> {
    return new Promise((resolve) => {
      this.#go = resolve
      this.waitingFor = name
      this.#event()
    })
  }

  done(): void {
    this.finished = true
    this.#event()
  }

  release(): Promise<void> {
    const settled = this.settled()
    this.#go?.()
    return settled
  }
}

async function runOnce<World>(scenario: Scenario<World>, planned: readonly Choice[]): Promise<Choice[]> {
  const { store, options = {}, setUp, actors, check } = scenario
  const plain = processOf(store, options)
  const world = await setUp(plain)
  const running: Actor[] = []
  for (const [index, act] of actors.entries()) {
    const actor = new Actor()
    const settled = actor.settled()
    const process = {
      sessions: processOf(
        stepped(store, (name) => actor.gate(`${index}.${name}`)),
        options,
      ),
      step: (name: string) => actor.gate(`${index}.${name}`),
    }
    void act(world, process)
      .catch(() => {})
      .finally(() => actor.done())
    await settled
    running.push(actor)
  }
  const made: Choice[] = []
  const steps: string[] = []
  for (;;) {
    const ready = running.filter(({ finished }) => !finished)
    if (ready.length === 0) break
    const taken = planned[made.length]?.taken ?? 0
    made.push({ taken, of: ready.length })
    const next = ready[taken] ?? ready[0]
    steps.push(next?.waitingFor ?? '')
    await next?.release()
  }
  try {
    await check(world, plain, steps)
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\nafter ${steps.join(' ')}`, {
      cause: error,
    })
  }
  return made
}

function processOf(store: SessionStore, options: SessionOptions): Sessions {
  const now = () => performance.timeOrigin + performance.now()
  const context = { connection: undefined, replicated: undefined, prefix: 'test', settings: {}, logger: silentLogger }
  return new Sessions({ ...context, telemetry: new SessionRecorder(), now }, { ...options, store })
}

/** A store whose every verb waits to be let through. */
export function stepped(store: SessionStore, gate: (name: string) => Promise<void>): SessionStore {
  return new Proxy(store, {
    get(target, name) {
      const verb: unknown = Reflect.get(target, name, target)
      if (typeof verb !== 'function') return verb
      return async (...args: unknown[]): Promise<unknown> => {
        await gate(String(name))
        return (await Reflect.apply(verb, target, args)) as unknown
      }
    },
  })
}

/** A browser: its requests carry the cookie of their start, and their answers come in any order. */
export class Browser {
  cookie: string | undefined
  /** Every cookie that it was ever sent. */
  readonly seen = new Set<string>()

  take(session: Session): void {
    const line = session.setCookie
    if (line === undefined) return
    const [pair = ''] = line.split(';')
    this.cookie = pair.endsWith('=') ? undefined : pair
    if (this.cookie !== undefined) this.seen.add(this.cookie)
  }

  /** A whole request of a process; its answer arrives as a step of its own. */
  async visit(process: Process, work: (session: Session) => unknown): Promise<void> {
    const session = await process.sessions.load(this.cookie)
    let failed: unknown
    try {
      await work(session)
      await session.commit(true)
    } catch (error) {
      failed = error
    }
    await process.step('answer')
    this.take(session)
    if (failed !== undefined) throw failed as Error
  }

  /** A request before the actors start. */
  async ask(sessions: Sessions, work: (session: Session) => unknown): Promise<Session> {
    const session = await sessions.load(this.cookie)
    await work(session)
    await session.commit(true)
    this.take(session)
    return session
  }
}
