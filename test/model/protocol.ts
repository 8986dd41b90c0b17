import type { Actor, Program, World } from './actors.js'
import { fill } from './actors.js'
import { type Exploration, explore, type Model, type Step } from './explore.js'
import { judge, NOTE, type Server } from './server.js'

export type Fault = 'an actor dies' | 'a reply is lost' | 'a lease expires' | 'the clock is lost' | `${string} is lost`

export interface Case {
  readonly cast: readonly Program[]
  readonly server: Server
  /** How often each fault may happen. */
  readonly faults?: Partial<Record<Fault, number>> | undefined
  /** Keys that a request fills and hits when all is over. */
  readonly probes?: readonly { readonly key: string; readonly groups: readonly string[] }[]
}

/** A server whose clock is ahead of its time, with groups that were invalidated before that. */
export function serverWith(groups: readonly string[], entries: Server['entries'] = {}): Server {
  return {
    time: 0,
    incarnations: 1,
    clock: { incarnation: 1, at: 5 },
    groups: Object.fromEntries(groups.map((group) => [group, { incarnation: 1, hard: 4, soft: 0 }])),
    entries,
    leases: {},
  }
}

export const COLD: Server = { time: 0, incarnations: 0, groups: {}, entries: {}, leases: {} }

/** Explores every order of the commands of a case and of its faults. */
export function check(example: Case, statesMax = 100_000): Exploration {
  return explore(modelOf(example), statesMax)
}

function modelOf({ cast, server, faults = {}, probes = [] }: Case): Model<World> {
  const initial: World = {
    server,
    version: 0,
    promised: { hard: 0, soft: 0 },
    actors: cast.map(() => ({ at: 0, left: [], memory: {} })),
    faults: Object.fromEntries(Object.entries(faults).filter(([, count]) => count !== undefined)) as Record<
      string,
      number
    >,
  }
  initial.actors.forEach((_, id) => settleStage(cast, initial, id, true))
  return {
    initial,
    steps: (world) => steps(cast, world),
    check: problemOf,
    checkEnd: (world) => endProblemOf(world, probes),
  }
}

function* steps(cast: readonly Program[], world: World): Generator<Step<World>> {
  for (const [id, actor] of world.actors.entries()) {
    if (actor.isDead === true) continue
    for (const name of actor.left) {
      yield { label: `${id} ${cast[id]?.name}: ${name}`, next: execute(cast, world, id, name, false) }
      if ((world.faults['a reply is lost'] ?? 0) > 0 && !LOCAL.has(name)) {
        const next = execute(cast, world, id, name, true)
        spend(next, 'a reply is lost')
        yield { label: `${id} ${cast[id]?.name}: ${name}, and the reply is lost`, next }
      }
    }
    if (actor.left.length > 0 && (world.faults['an actor dies'] ?? 0) > 0) {
      const next = copyOf(world)
      spend(next, 'an actor dies')
      Object.assign(next.actors[id] ?? {}, { isDead: true, left: [] })
      yield { label: `${id} ${cast[id]?.name} dies`, next }
    }
  }
  yield* losses(world)
}

/** Commands that are not sent to the server. */
const LOCAL: ReadonlySet<string> = new Set(['load', 'change', 'acknowledge', 'join'])

function* losses(world: World): Generator<Step<World>> {
  for (const [fault, count] of Object.entries(world.faults)) {
    if (count === 0) continue
    const next = copyOf(world)
    spend(next, fault)
    if (fault === 'the clock is lost' && world.server.clock !== undefined) {
      delete next.server.clock
      yield { label: fault, next }
    }
    if (fault === 'a lease expires') {
      for (const key of Object.keys(world.server.leases)) {
        const expired = copyOf(next)
        delete expired.server.leases[key]
        yield { label: `the lease of ${key} expires`, next: expired }
      }
    }
    const group = fault.replace(/ is lost$/, '')
    if (world.server.groups[group] !== undefined) {
      delete next.server.groups[group]
      yield { label: fault, next }
    }
  }
}

/** States are plain JSON, and copying them as such is the quickest way. */
function copyOf<T>(value: T): T {
  return JSON.parse(JSON.stringify(value))
}

function spend(world: World, fault: string): void {
  world.faults[fault] = (world.faults[fault] ?? 0) - 1
}

function execute(cast: readonly Program[], world: World, id: number, name: string, isLost: boolean): World {
  const next = copyOf(world)
  const actor = next.actors[id]
  const stage = cast[id]?.stages[actor?.at ?? 0]
  if (actor === undefined || stage === undefined) throw new Error(`actor ${id} has no stage`)
  actor.memory.began ??= world.promised
  const command = stage.commands(actor.memory, id).find((one) => one.name === name)
  if (command === undefined) throw new Error(`${name} is not a command of this stage`)
  const before = isLost ? copyOf(actor.memory) : undefined
  command.run(next)
  actor.left = actor.left.filter((other) => other !== name)
  if (before !== undefined) {
    // The caller knows nothing of what was executed, and waits for nothing else of this stage.
    actor.memory = { ...before, isLost: true }
    actor.left = []
  }
  if (actor.left.length === 0) settleStage(cast, next, id, false)
  return next
}

/** Goes on to the next stage that has commands: what happens in between is no step of its own. */
function settleStage(cast: readonly Program[], world: World, id: number, isFirst: boolean): void {
  const actor: Actor | undefined = world.actors[id]
  if (actor === undefined) return
  const { stages } = cast[id] ?? { stages: [] }
  let isEntered = !isFirst
  for (;;) {
    const stage = stages[actor.at]
    if (stage === undefined) return
    if (isEntered) actor.at += stage.after?.(actor.memory, world) ?? 1
    const entered = stages[actor.at]
    if (entered === undefined) return
    entered.enter?.(actor.memory)
    actor.left = entered.commands(actor.memory, id).map(({ name }) => name)
    isEntered = true
    if (actor.left.length > 0) return
  }
}

/** A request that would begin now, and read all at once, must not be given what is older than was acknowledged. */
function problemOf(world: World): string | undefined {
  if (world.wrong !== undefined) return world.wrong
  const { server, promised } = world
  for (const [key, entry] of Object.entries(server.entries)) {
    const found = judge(entry, server.groups)
    if (found === undefined) continue
    if (found.version < promised.hard) return `${key} is a hit with version ${found.version} after ${promised.hard}`
    if (found.isFresh && found.version < promised.soft)
      return `${key} is fresh with version ${found.version} after ${promised.soft}`
  }
  return undefined
}

/** When all is over no lease is left, one more request fills, and the next one hits. */
function endProblemOf(world: World, probes: Required<Case>['probes']): string | undefined {
  if (world.actors.some(({ isDead }) => isDead === true)) return undefined
  const [left] = Object.entries(world.server.leases).filter(([, lease]) => lease !== NOTE)
  if (left !== undefined) return `the lease of ${left[0]} is left`
  for (const probe of probes) {
    if (world.server.leases[probe.key] === NOTE) continue
    // A group of another incarnation is replaced by the first fill that meets it, which may be fenced itself.
    const first = commandsOf(fill('server', probe), world.server)
    const { server } = commandsOf(fill('server', probe), first.server)
    if (judge(server.entries[probe.key], server.groups)?.isFresh !== true)
      return `${probe.key} cannot be filled any more`
  }
  return undefined
}

/** Names of the commands that a program sends when nothing else happens, in order, and the server after them. */
export function commandsOf(
  program: Program,
  server: Server,
): { readonly sent: readonly string[]; readonly server: Server } {
  const sent: string[] = []
  let world: World = {
    server,
    version: 0,
    promised: { hard: 0, soft: 0 },
    actors: [{ at: 0, left: [], memory: {} }],
    faults: {},
  }
  settleStage([program], world, 0, true)
  for (;;) {
    const [name] = world.actors[0]?.left ?? []
    if (name === undefined) return { sent, server: world.server }
    world = execute([program], world, 0, name, false)
    if (!LOCAL.has(name)) sent.push(name.split(' ')[0] ?? name)
  }
}
