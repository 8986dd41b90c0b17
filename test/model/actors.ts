import * as script from './server.js'
import type { GroupStamp, GroupValue, Mode, Server, Stamp, StoredEntry } from './server.js'

/** On one server a script has the clock and the groups as well; on a cluster each key is a command of its own. */
export type Topology = 'server' | 'cluster'

/** What an actor remembers between its commands. */
export interface Memory {
  /** What was acknowledged when it began: an older answer is wrong for it. */
  began?: Promised
  /** The reply to a command was lost, or not in time. */
  isLost?: true
  isDone?: true
  seen?: StoredEntry | null
  stamps?: Record<string, GroupValue | null>
  isGranted?: boolean
  /** Read before the handler. */
  stamp?: Stamp
  /** Taken, or read, after the handler. */
  own?: Stamp
  marks?: Record<string, GroupValue>
  isTainted?: boolean
  /** Targets whose stamp is still to rise, and the newest stamp that was met there. */
  behind?: readonly string[]
  floor?: number
  version?: number
  isStored?: boolean
}

/** Versions of the source that were acknowledged: by a hard change, and by a hard or soft one. */
export interface Promised {
  readonly hard: number
  readonly soft: number
}

export interface World {
  server: Server
  /** Version of the source, such as a database. */
  version: number
  promised: Promised
  actors: Actor[]
  /** Faults that may still happen, by name. */
  faults: Record<string, number>
  /** An actor was given a wrong answer. */
  wrong?: string
}

export interface Actor {
  /** Index of the stage of its program. */
  at: number
  /** Commands of the stage that have not been executed. */
  left: readonly string[]
  memory: Memory
  isDead?: true
}

/** A command as the store sends it, or an action on the source. Its name begins with that of the command. */
export interface Command {
  readonly name: string
  run(world: World): void
}

export interface Stage {
  /** Before the commands are sent; the same turn of the actor's event loop as the end of the stage before. */
  enter?(memory: Memory): void
  /** Commands that are sent side by side; none skips the stage. */
  commands(memory: Memory, id: number): readonly Command[]
  /** After all replies. Returns where to go on, relative to this stage, where that is not the next one. */
  after?(memory: Memory, world: World): number | undefined
}

export interface Program {
  readonly name: string
  readonly stages: readonly Stage[]
}

/** Stages that are skipped unless `applies`. */
function when(applies: (memory: Memory) => boolean, stages: readonly Stage[]): Stage[] {
  return stages.map(({ enter, commands, after }) => ({
    enter: (memory) => {
      if (applies(memory)) enter?.(memory)
    },
    commands: (memory, id) => (applies(memory) ? commands(memory, id) : []),
    after: (memory, world) => (applies(memory) ? after?.(memory, world) : undefined),
  }))
}

const unlessLost = (stages: readonly Stage[]): Stage[] => when((memory) => memory.isLost !== true, stages)
const ifLost = (stages: readonly Stage[]): Stage[] => when((memory) => memory.isLost === true, stages)

function single(name: string, run: (memory: Memory, world: World, id: number) => void): Stage {
  return { commands: (memory, id) => [{ name, run: (world) => run(memory, world, id) }] }
}

// The source.

const load = single('load', (memory, world) => {
  memory.version = world.version
  serve(world, memory, { version: world.version, isFresh: true })
})

const change = single('change', (memory, world) => {
  world.version += 1
  memory.version = world.version
})

const acknowledge = (mode: Mode): Stage =>
  single('acknowledge', ({ version = 0 }, world) => {
    const { hard, soft } = world.promised
    world.promised = { hard: mode === 'hard' ? Math.max(hard, version) : hard, soft: Math.max(soft, version) }
  })

/** An answer that an actor is given. */
function serve(world: World, { began }: Memory, answer: { readonly version: number; readonly isFresh: boolean }): void {
  const { hard = 0, soft = 0 } = began ?? {}
  if (answer.version < hard) world.wrong = `version ${answer.version} is given after ${hard} was acknowledged`
  if (answer.isFresh && answer.version < soft) world.wrong = `version ${answer.version} is given as fresh after ${soft}`
}

// Groups on a cluster: mark, clock, settle.

function readClock(field: 'stamp' | 'own'): Stage {
  return single('GET clock', (memory, { server }) => {
    memory[field] = script.clock(server)
  })
}

function marksOf(memory: Memory, id: number, groups: readonly string[]): Command[] {
  return groups.map((group) => ({
    name: `mark ${group}`,
    run: ({ server }) => {
      memory.marks = { ...memory.marks, [group]: script.mark(server, group, `?${id}`) }
    },
  }))
}

/** The clock is read again while the marks stand, and replaces them, where a group is missing. */
function settleMarks(field: 'stamp' | 'own', groupsOf: (memory: Memory) => readonly string[]): Stage[] {
  const missing = (memory: Memory): string[] => {
    const incarnation = (memory[field] ?? memory.stamp)?.incarnation ?? -1
    return groupsOf(memory).filter((group) => script.stampOf(memory.marks?.[group], incarnation) === undefined)
  }
  return [
    {
      ...readClock(field),
      commands: (memory, id) => (missing(memory).length > 0 ? readClock(field).commands(memory, id) : []),
    },
    {
      commands: (memory) =>
        missing(memory).map((group) => ({
          name: `settle ${group}`,
          run: ({ server }) => {
            const [seen, stamp] = [memory.marks?.[group], memory[field]]
            if (seen !== undefined && stamp !== undefined) script.settle(server, group, seen, stamp)
          },
        })),
    },
  ]
}

function ensure(topology: Topology, groups: readonly string[]): Stage[] {
  if (topology === 'server')
    return [
      single('ensure', (memory, { server }) => {
        memory.stamp = script.ensure(server, groups)
      }),
    ]
  const first: Stage = {
    commands: (memory, id) => [...readClock('stamp').commands(memory, id), ...marksOf(memory, id, groups)],
  }
  return [first, ...settleMarks('stamp', () => groups)]
}

/** A bump always rises: a target whose stamp is not older is bumped again at a newer clock. */
function rise(
  name: string,
  targetsOf: (memory: Memory) => readonly string[],
  run: (server: Server, target: string, stamp: Stamp) => GroupStamp | undefined,
  first: 'with a clock' | 'at own' = 'with a clock',
  onBefore?: (memory: Memory, target: string, before: GroupStamp | undefined) => void,
): Stage[] {
  return [
    {
      enter: (memory) => {
        memory.behind = targetsOf(memory)
        delete memory.floor
      },
      commands: () => [],
      after: () => (first === 'at own' ? 2 : 1),
    },
    {
      commands: (memory) =>
        (memory.behind ?? []).length === 0
          ? []
          : [
              {
                name: 'clock',
                run: ({ server }) => {
                  memory.own = script.clock(server, memory.floor ?? 0)
                },
              },
            ],
    },
    {
      commands: (memory) =>
        (memory.behind ?? []).map((target) => ({
          name: `${name} ${target}`,
          run: ({ server }) => {
            const { own } = memory
            if (own === undefined) return
            const before = run(server, target, own)
            onBefore?.(memory, target, before)
            const newest = script.newestOf(before)
            if (newest >= own.at) memory.floor = Math.max(memory.floor ?? 0, newest)
            else memory.behind = (memory.behind ?? []).filter((other) => other !== target)
          },
        })),
      after: (memory) => ((memory.behind ?? []).length > 0 ? -1 : 1),
    },
  ]
}

// Requests.

export interface EntryOptions {
  readonly key: string
  /** Groups that the route declares. */
  readonly groups: readonly string[]
  /** Groups that its handler adds. */
  readonly named?: readonly string[]
}

export interface FillOptions extends EntryOptions {
  /** A part of the protocol that is left out, so that it must fail. */
  readonly without?: 'lease' | 'stamp before the handler' | 'marks' | 'token' | 'look at the entry' | undefined
  /** Its response may not be stored, so it leaves a note. */
  readonly refuses?: boolean
}

function entryOf({ version = 0, stamp }: Memory, groups: readonly string[]): StoredEntry {
  const { incarnation = 0, at = 0 } = stamp ?? {}
  return { version, incarnation, stamp: at, writeStamp: at, ownGroups: [], groups: [...groups], softened: false }
}

/** The lookup's trip: one command each for the entry and the stamps, or all at once where their order is not the point. */
function lookup({ key, groups, named = [] }: EntryOptions, isSplit: boolean): Stage {
  const entry = (memory: Memory): Command => ({
    name: `GET ${key}`,
    run: ({ server }) => {
      memory.seen = server.entries[key] ?? null
    },
  })
  const stamps = (memory: Memory): Command[] =>
    [...groups, ...named].map((group) => ({
      name: `GET ${group}`,
      run: ({ server }) => {
        memory.stamps = { ...memory.stamps, [group]: server.groups[group] ?? null }
      },
    }))
  return {
    commands: (memory) => {
      const commands = [entry(memory), ...stamps(memory)]
      if (isSplit) return commands
      return [
        {
          name: 'GET',
          run: (world) => {
            for (const command of commands) command.run(world)
          },
        },
      ]
    },
    after: (memory, world) => {
      const found = script.judge(memory.seen ?? undefined, memory.stamps ?? {})
      if (found === undefined) return undefined
      if (isSplit || found.isFresh) serve(world, memory, found)
      if (found.isFresh) memory.isDone = true
      return undefined
    },
  }
}

/** A request that only reads, in as many commands as the store sends. */
export function read(options: EntryOptions): Program {
  return { name: `read of ${options.key}`, stages: [lookup(options, true)] }
}

/** A request that finds the entry, or runs its handler under the lease and publishes what that returns. */
export function fill(topology: Topology, options: FillOptions): Program {
  const { key, groups, named = [], without, refuses = false } = options
  const all = [...groups, ...named]
  const absent = ({ stamps }: Memory): string[] =>
    groups.filter((group) => {
      const value = stamps?.[group] ?? null
      return value === null || 'mark' in value
    })
  // Where no group is missing the lease is claimed, and the entry looked at behind it, in plain commands.
  const claims = (memory: Memory): boolean => absent(memory).length === 0 && without === undefined
  const claim: Stage[] = when(claims, [
    {
      commands: (memory, id) => [
        {
          name: 'SET NX',
          run: ({ server }) => {
            memory.isGranted = script.claim(server, key, `t${id}`)
          },
        },
        ...readClock('stamp').commands(memory, id),
      ],
    },
    single('GETRANGE', (memory, { server }) => {
      if (JSON.stringify(server.entries[key] ?? null) !== JSON.stringify(memory.seen ?? null)) memory.isGranted = false
    }),
  ])
  const acquire: Stage = {
    commands: (memory, id) => {
      if (claims(memory)) return []
      const taking: Command = {
        name: 'acquire',
        run: ({ server }) => {
          const seen = without === 'look at the entry' ? (server.entries[key] ?? null) : (memory.seen ?? null)
          const reply = script.acquire(server, key, `t${id}`, seen, topology === 'server' ? absent(memory) : undefined)
          memory.isGranted = 'granted' in reply || without === 'lease'
          if ('granted' in reply && reply.granted !== null) memory.stamp = reply.granted
          if (without === 'lease') memory.stamp ??= script.clock(server)
        },
      }
      if (topology === 'server') return [taking]
      const marks = without === 'marks' ? [] : marksOf(memory, id, absent(memory))
      return [taking, ...readClock('stamp').commands(memory, id), ...marks]
    },
  }
  const isFilling = (memory: Memory): boolean => memory.isGranted === true && memory.isLost !== true
  const notDone = (stages: readonly Stage[]): Stage[] => when((memory) => memory.isDone !== true, stages)
  const giveBack = single('release', (_, { server }, id) => script.release(server, key, `t${id}`, refuses))
  return {
    name: `fill of ${key}`,
    stages: [
      lookup(options, false),
      ...notDone([
        ...claim,
        acquire,
        ...when(isFilling, topology === 'cluster' && without !== 'marks' ? settleMarks('stamp', absent) : []),
        load,
        ...when(isFilling, without === 'stamp before the handler' ? [readClock('stamp')] : []),
        ...when(isFilling, refuses ? [] : publish(topology, key, all, without)),
        // Whatever was lost: the lease is given back by its token.
        ...when(({ isStored }) => isStored !== true, [giveBack]),
      ]),
    ],
  }
}

function publish(topology: Topology, key: string, all: readonly string[], without: FillOptions['without']): Stage[] {
  const isOpen = without === 'lease' || without === 'token'
  const storing = (memory: Memory, id: number): Command => ({
    name: isOpen ? 'publish' : 'fill',
    run: ({ server }) => {
      const groups = topology === 'server' ? all : undefined
      memory.isStored = isOpen
        ? script.publish(server, key, undefined, entryOf(memory, all), groups)
        : script.fill(server, key, `t${id}`, entryOf(memory, all), groups)
    },
  })
  const storingAlone: Stage = { commands: (memory, id) => [storing(memory, id)] }
  if (topology === 'server') return [storingAlone]
  if (without !== 'marks')
    return [
      {
        enter: (memory) => {
          memory.marks = {}
        },
        commands: (memory, id) => [storing(memory, id), ...marksOf(memory, id, all)],
      },
      ...settleMarks('own', () => all),
    ]
  const creating: Stage = {
    commands: (memory) =>
      all.map((group) => ({
        name: `create ${group}`,
        run: ({ server }) => {
          const { incarnation = 0, at = 0 } = memory.own ?? {}
          server.groups[group] ??= { incarnation, hard: at, soft: 0 }
        },
      })),
  }
  return [readClock('own'), creating, storingAlone]
}

/**
 * A request of the same process as the fill with the number `leader`. It looks up, reads the clock when it joins, and
 * takes the answer of the run, stored or fenced, if its clock is not newer than the stamp of the run.
 */
export function join(leader: number, options: EntryOptions & { readonly without?: 'clock' }): Program {
  return {
    name: `joiner of ${options.key}`,
    stages: [
      lookup(options, false),
      ...when(
        ({ isDone }) => isDone !== true,
        [
          readClock('stamp'),
          single('join', (memory, world) => {
            const led = world.actors[leader]?.memory ?? {}
            const isOlder =
              led.stamp !== undefined &&
              led.stamp.incarnation === memory.stamp?.incarnation &&
              memory.stamp.at <= led.stamp.at
            const takes = led.version !== undefined && (isOlder || options.without === 'clock')
            memory.version = takes ? (led.version ?? 0) : world.version
            serve(world, memory, { version: memory.version, isFresh: true })
          }),
        ],
      ),
    ],
  }
}

// Changes of the source.

const invalidateGroups = (topology: Topology, groups: readonly string[], mode: Mode): Stage[] =>
  topology === 'server'
    ? [single('invalidate', (_, { server }) => script.invalidate(server, groups, mode))]
    : rise(
        'bump',
        () => groups,
        (server, group, stamp) => script.bump(server, group, stamp, mode),
      )

const evictPath = (topology: Topology, path: string, mode: Mode): Stage[] =>
  topology === 'server'
    ? [single('evict', (_, { server }) => script.evict(server, path, mode))]
    : rise(
        'evict',
        () => [path],
        (server, target, stamp) => script.evict(server, target, mode, stamp),
      )

/** A change that ends with the invalidation of groups. A lost reply: it is queued, and made again before it is acknowledged. */
export function invalidation(topology: Topology, groups: readonly string[], mode: Mode = 'hard'): Program {
  const commands = invalidateGroups(topology, groups, mode)
  return {
    name: `${mode} invalidation of ${groups.join(', ')}`,
    stages: [change, ...unlessLost(commands), ...ifLost(commands), acknowledge(mode)],
  }
}

/** A change that ends with the eviction of a path. */
export function eviction(topology: Topology, path: string, mode: Mode = 'hard', without?: 'fence'): Program {
  const naive = single('DEL', (_, { server }) => void delete server.entries[path])
  const commands = without === 'fence' ? [naive] : evictPath(topology, path, mode)
  return {
    name: `${mode} eviction of ${path}`,
    stages: [change, ...unlessLost(commands), ...ifLost(commands), acknowledge(mode)],
  }
}

export interface WriteOptions {
  readonly path: string
  readonly key: string
  readonly groups: readonly string[]
  readonly evicts?: readonly string[]
  readonly without?:
    | 'bump of the path'
    | 'two stamps'
    | 'taint'
    | 'groups before the handler'
    | 'end of the lease'
    | undefined
}

/** A write-through: creates its groups and reads the clock, changes the source, and commits. */
export function write(topology: Topology, options: WriteOptions): Program {
  const { path, key, groups, evicts = [], without } = options
  const isPlain = path === key
  const bumped = [script.pathGroup(path), ...evicts]
  const needed = [...new Set([...groups, ...bumped])]
  const taint = (memory: Memory, before: GroupStamp | undefined): void => {
    const isOlder = script.newestOf(before) <= (memory.stamp?.at ?? 0)
    if (without !== 'taint' && (before?.incarnation !== memory.stamp?.incarnation || !isOlder)) memory.isTainted = true
  }
  const entry = (memory: Memory): StoredEntry | undefined => {
    const { stamp, own, isTainted } = memory
    if (stamp === undefined || own === undefined || isTainted === true) return undefined
    const ownGroups = groups.filter((group) => bumped.includes(group))
    const at = without === 'two stamps' ? own.at : stamp.at
    return { ...entryOf(memory, groups), incarnation: own.incarnation, stamp: at, writeStamp: own.at, ownGroups }
  }
  const advance: Stage = {
    commands: (memory) => [
      {
        name: 'clock',
        run: ({ server }) => {
          memory.own = script.clock(server, 0)
          if (memory.own.incarnation !== memory.stamp?.incarnation) memory.isTainted = true
        },
      },
      ...groups
        .filter((group) => !bumped.includes(group))
        .map((group) => ({
          name: `GET ${group}`,
          run: ({ server }: World) =>
            taint(memory, script.stampOf(server.groups[group], memory.stamp?.incarnation ?? -1)),
        })),
    ],
  }
  const isBumping = without !== 'bump of the path'
  // One server: all in one script.
  const writeAtOnce = single('write', (memory, { server }) => {
    const { stamp } = memory
    if (stamp === undefined) return
    const lease = server.leases[path]
    // With one stamp, of the end, there is nothing to compare.
    const compared = without === 'two stamps' ? [] : [...groups, script.pathGroup(path)]
    for (const group of compared) taint(memory, script.stampOf(server.groups[group], stamp.incarnation))
    memory.own = script.invalidate(server, isBumping ? bumped : evicts, 'hard')
    if (memory.own.incarnation !== stamp.incarnation) memory.isTainted = true
    for (const gone of isBumping ? [path, key] : [key]) {
      delete server.entries[gone]
      delete server.leases[gone]
    }
    const stored = entry(memory)
    if (stored !== undefined) server.entries[key] = stored
    if (without === 'end of the lease' && lease !== undefined) server.leases[path] = lease
  })
  const commit = single('commit', (memory, { server }) => {
    const { stamp, own } = memory
    if (stamp === undefined || own === undefined) return
    const plain = isPlain ? entry(memory) : undefined
    if (!isBumping) {
      if (plain !== undefined) server.entries[path] = plain
      return
    }
    const lease = server.leases[path]
    const begun = without === 'taint' ? Infinity : stamp.at
    const { isUntouched, before } = script.commit(server, path, begun, own, plain)
    if (without === 'end of the lease' && lease !== undefined) server.leases[path] = lease
    if (!isUntouched && without !== 'taint') memory.isTainted = true
    memory.behind = script.newestOf(before) < own.at ? [] : [path]
  })
  const commitVariant: Stage = {
    commands: (memory) => {
      const stored = entry(memory)
      if (isPlain) return []
      return stored === undefined
        ? [{ name: 'evict', run: ({ server }) => void script.evict(server, key, 'hard', memory.own) }]
        : [{ name: 'publish', run: ({ server }) => void script.publish(server, key, undefined, stored) }]
    },
  }
  const bumping = rise(
    'bump',
    () => evicts,
    (server, group, stamp) => script.bump(server, group, stamp, 'hard'),
    'at own',
    (memory, group, before) => {
      if (groups.includes(group)) taint(memory, before)
    },
  )
  const inSteps = [
    advance,
    ...bumping,
    commit,
    ...when(({ behind }) => (behind ?? []).length > 0, evictPath(topology, path, 'hard')),
    commitVariant,
  ]
  return {
    name: `write of ${key}`,
    stages: [
      ...unlessLost(without === 'groups before the handler' ? [readClock('stamp')] : ensure(topology, needed)),
      change,
      ...unlessLost(topology === 'server' ? [writeAtOnce] : inSteps),
      // It could not be confirmed: the path and the groups are queued, and evicted before it is acknowledged.
      ...ifLost([
        ...evictPath(topology, path, 'hard'),
        ...(evicts.length > 0 ? invalidateGroups(topology, evicts, 'hard') : []),
      ]),
      acknowledge('hard'),
    ],
  }
}

/** Stores the newest version without a lease. */
export function set(topology: Topology, key: string, groups: readonly string[]): Program {
  const store = single(
    'set',
    (memory, { server }) => void script.publish(server, key, undefined, entryOf(memory, groups)),
  )
  return { name: `set of ${key}`, stages: [change, ...ensure(topology, groups), store, acknowledge('hard')] }
}
