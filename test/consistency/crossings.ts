import { CacheScope } from '../../src/cache/cache-scope.js'
import type { EntryLookup, EntryRef } from '../../src/cache/entry-ref.js'
import type { FillLease } from '../../src/cache/fill.js'
import type { PendingWrite } from '../../src/cache/write.js'
import type { Entry } from '../../src/store/entry.js'
import { pathGroup } from '../../src/store/keyspace.js'
import type { Store } from '../../src/store/store.js'
import {
  type ControlledStore,
  controlled,
  type HoldPoint,
  signal,
  type StoreVerb,
} from '../support/controlled-store.js'
import { makeEntry } from '../support/entries.js'
import { silentLogger } from '../support/logger.js'

/*
 * Every kind of entry, under every kind of change, at every moment of the run that fills or writes it, with every
 * command lost: each combination is a cell. Two processes share a store; the order is forced by holding a command of
 * one of them, or its handler, and never by sleeping.
 */

export const KINDS = ['plain', 'named groups', 'declared vary', 'learned vary', 'per principal'] as const

export type Kind = (typeof KINDS)[number]

export const CHANGES = [
  'evict path',
  'evict group',
  'evict groups',
  'evict named group',
  'write-through',
  'write-through with its own group',
  'write that stores nothing',
  'soft by path',
  'soft by group',
  'set',
  'clear',
] as const

export type Change = (typeof CHANGES)[number]

/** Where the run of the first process stands still while the second one changes the source. */
export const FILL_MOMENTS = [
  ['read', 'after'],
  ['acquireLease', 'before'],
  ['acquireLease', 'after'],
  ['handler', 'during'],
  ['put', 'after'],
  ['publish', 'before'],
  ['publish', 'after'],
  ['nowhere', 'after'],
] as const

export const WRITE_MOMENTS = [
  ['beginWrite', 'before'],
  ['beginWrite', 'after'],
  ['handler', 'during'],
  ['commitWrite', 'before'],
  ['commitWrite', 'after'],
  ['nowhere', 'after'],
] as const

export type Moment = (typeof FILL_MOMENTS)[number] | (typeof WRITE_MOMENTS)[number]

/** A command that is lost once: on its way to the store or with its reply, in the process that runs or that changes. */
export interface Loss {
  readonly of: 'runner' | 'changer'
  readonly verb: StoreVerb
  readonly what: 'command' | 'reply'
}

export interface Cell {
  readonly kind: Kind
  readonly run: 'fill' | 'write'
  readonly change: Change
  readonly moment: Moment
  /** Whether the change comes from the process of the run or from the other one. */
  readonly by: 'same' | 'other'
  /** Whether the groups were there before, with an entry that was evicted. */
  readonly groups: 'cold' | 'warm'
  readonly loss?: Loss | undefined
}

export function describeCell({ kind, run, change, moment, by, groups, loss }: Cell): string {
  const lost = loss === undefined ? '' : `, ${loss.what} of ${loss.verb} lost by the ${loss.of}`
  return `${kind}: ${run} held at ${moment.join(' ')}, ${change} by the ${by} process, groups ${groups}${lost}`
}

const RUNNER_LOSSES = ['read', 'clock', 'acquireLease', 'put', 'publish', 'beginWrite', 'commitWrite'] as const

const CHANGER_LOSSES = ['beginWrite', 'commitWrite', 'evict', 'invalidate', 'set'] as const

/**
 * All cells of one kind of entry and one kind of change. `losses`: with each command lost as well, once; `some` loses
 * them where another process makes the change and groups exist.
 */
export function cellsOf(kind: Kind, change: Change, losses: 'all' | 'some' | 'none'): Cell[] {
  if (change === 'set' && kind !== 'plain') return []
  if (change === 'evict named group' && kind !== 'named groups') return []
  const runs = (['fill', 'write'] as const).flatMap((run) =>
    (run === 'fill' ? FILL_MOMENTS : WRITE_MOMENTS)
      .filter(([verb]) => verb !== 'put' || kind === 'learned vary')
      .map((moment) => ({ kind, run, change, moment })),
  )
  const plain = runs.flatMap((run) =>
    (['same', 'other'] as const).flatMap((by) => (['cold', 'warm'] as const).map((groups) => ({ ...run, by, groups }))),
  )
  if (losses === 'none') return plain
  const every: Loss[] = [
    ...RUNNER_LOSSES.map((verb) => ({ of: 'runner', verb }) as const),
    ...CHANGER_LOSSES.map((verb) => ({ of: 'changer', verb }) as const),
  ].flatMap((loss) => (['command', 'reply'] as const).map((what) => ({ ...loss, what })))
  const base = losses === 'all' ? plain : plain.filter(({ by, groups }) => by === 'other' && groups === 'warm')
  return [...plain, ...base.flatMap((cell) => every.map((loss) => ({ ...cell, loss })).filter(isOfUse))]
}

/** Leaves out losses of commands that the cell does not send. */
function isOfUse({ run, change, loss, kind }: Cell & { readonly loss: Loss }): boolean {
  const { of, verb } = loss
  if (of === 'runner') {
    if (verb === 'put') return kind === 'learned vary' && run === 'fill'
    return (verb === 'beginWrite' || verb === 'commitWrite') === (run === 'write')
  }
  if (verb === 'set') return change === 'set'
  if (change.startsWith('write')) return verb === 'beginWrite' || verb === 'commitWrite'
  return verb === (change.endsWith('path') ? 'evict' : 'invalidate')
}

/** The source that handlers read and writes change. */
class Source {
  version = 1
  runs = 0
  #held: { readonly reached: () => void; readonly released: Promise<void> } | undefined

  /** The next run stands still after it has read or written. */
  hold(): HoldPoint {
    const [reached, released] = [signal(), signal()]
    const held = { reached: reached.resolve, released: released.promise }
    this.#held = held
    const release = (): void => {
      if (this.#held === held) this.#held = undefined
      released.resolve()
    }
    return { reached: reached.promise, release }
  }

  async read(): Promise<number> {
    this.runs += 1
    const { version } = this
    await this.#stand()
    return version
  }

  async write(): Promise<number> {
    this.version += 1
    const { version } = this
    await this.#stand()
    return version
  }

  async #stand(): Promise<void> {
    const held = this.#held
    this.#held = undefined
    held?.reached()
    await held?.released
  }
}

const PATH = '/a'
const VARIANT = `${PATH}|accept=text`
const TTL_MS = 60_000

/** What a route or namespace does with one kind of entry, in one process. */
class Process {
  readonly store: ControlledStore
  readonly scope: CacheScope
  readonly #kind: Kind
  readonly #source: Source
  #learned = false

  constructor(store: Store, kind: Kind, source: Source) {
    this.store = controlled(store)
    // No lease ends by itself here, and no wait does: one that is forgotten shows.
    const [leaseMs, waitMs] = [600_000, 600_000]
    this.scope = new CacheScope(this.store, { now: Date.now, logger: silentLogger, leaseMs, waitMs })
    this.#kind = kind
    this.#source = source
  }

  get #ref(): EntryRef {
    const groups = ['', 'g']
    if (this.#kind === 'per principal') {
      const key = `${PATH}|per:ann`
      return { key, path: key, groups: [...groups, pathGroup(PATH)] }
    }
    const varies = this.#kind === 'declared vary' || (this.#kind === 'learned vary' && this.#learned)
    return varies
      ? { key: VARIANT, path: PATH, groups: [...groups, pathGroup(PATH)] }
      : { key: PATH, path: PATH, groups }
  }

  /** One request; the version that it is answered with. */
  async read(): Promise<number> {
    const ref = this.#ref
    const found = await this.scope.lookup(ref)
    if (found.state === 'valid' && found.entry.kind === 'variants') return this.#learn()
    if (found.state === 'valid' && !found.softened) return versionOf(found.entry)
    if (found.state === 'outage') return this.#source.read()
    return this.#fill(ref, found)
  }

  #learn(): Promise<number> {
    this.#learned = true
    return this.read()
  }

  async #fill(ref: EntryRef, found: Exclude<EntryLookup, { state: 'outage' }>): Promise<number> {
    const absent =
      found.state === 'absent' ? found : ({ state: 'absent', seen: found.entry, absentGroups: [] } as const)
    const acquired = await this.scope.acquire(ref, absent, {
      accept: (_, softened) => !softened,
      groupTtlMs: TTL_MS,
    })
    if (acquired.state === 'alone') return this.#source.read()
    if (acquired.state === 'fill') return this.#run(acquired.fill)
    if (acquired.entry.kind !== 'variants') return versionOf(acquired.entry)
    // It has waited: it looks once more, and runs alone.
    this.#learned = true
    const again = await this.scope.lookup(this.#ref)
    return again.state === 'valid' && !again.softened ? versionOf(again.entry) : this.#source.read()
  }

  async #run(fill: FillLease): Promise<number> {
    try {
      const version = await this.#source.read()
      await this.#publish(fill, version).catch(() => {})
      return version
    } finally {
      await fill.release()
    }
  }

  async #publish(fill: FillLease, version: number): Promise<void> {
    const { groups } = fill.ref
    if (this.#kind === 'learned vary' && !this.#learned) {
      const variant = entryOf(version, [...groups, pathGroup(PATH)])
      await this.scope.put(VARIANT, variant, fill.stamp, TTL_MS)
      await fill.publish({ ...makeEntry({ kind: 'variants', groups: [''] }) }, TTL_MS)
      this.#learned = true
    } else await fill.publish(entryOf(version, this.#groupsOf(groups)), TTL_MS)
  }

  /** Groups that the handler names are known after it. */
  #groupsOf(groups: readonly string[]): readonly string[] {
    return this.#kind === 'named groups' ? [...groups, 'named'] : groups
  }

  /** A write-through: whether what it invalidates is confirmed. */
  async write({ evicts = [], stores = true }: { evicts?: string[]; stores?: boolean } = {}): Promise<boolean> {
    const ref = this.#ref
    const write = await this.scope.beginWrite(ref, { groups: evicts, groupTtlMs: TTL_MS })
    const version = await this.#source.write()
    return this.#commit(ref, write, stores ? version : undefined, evicts)
  }

  async #commit(
    ref: EntryRef,
    write: PendingWrite | undefined,
    version: number | undefined,
    groups: readonly string[],
  ): Promise<boolean> {
    // Where principals are told apart below the path, a write ends the others' entries as well.
    const paths = ref.path === PATH ? [] : [PATH]
    if (write === undefined) return (await this.scope.evict({ paths: [ref.path, ...paths], groups })).confirmed
    const stored =
      version === undefined ? undefined : { entry: entryOf(version, this.#groupsOf(ref.groups)), ttlMs: TTL_MS }
    return (await this.scope.commit(write, stored, { groups, paths })).confirmed
  }

  /** Commits to the source, then invalidates. Whether that is confirmed. */
  async change(change: Change): Promise<boolean> {
    if (change === 'write-through') return this.write()
    if (change === 'write-through with its own group') return this.write({ evicts: ['g'] })
    if (change === 'write that stores nothing') return this.write({ stores: false })
    const version = await this.#source.write()
    if (change === 'set') return this.#set(version)
    if (change === 'clear') return (await this.scope.clear()).confirmed
    return (await this.scope.evict(TARGETS[change])).confirmed
  }

  async #set(version: number): Promise<boolean> {
    try {
      await this.scope.set(this.#ref.key, entryOf(version, this.#ref.groups), TTL_MS)
      return true
    } catch {
      return false
    }
  }

  async leases(): Promise<readonly string[]> {
    return (await this.scope.match('leases', '*', '0', 100)).keys
  }
}

const TARGETS = {
  'evict path': { paths: [PATH] },
  'evict group': { groups: ['g'] },
  'evict groups': { groups: ['other', 'g'] },
  'evict named group': { groups: ['named'] },
  'soft by path': { paths: [PATH], mode: 'soft' },
  'soft by group': { groups: ['g'], mode: 'soft' },
} as const

function entryOf(version: number, groups: readonly string[]): Entry {
  return makeEntry({ groups, body: Buffer.from(String(version)) })
}

function versionOf({ body }: Entry): number {
  return Number(body.toString())
}

/** Two stores over the same data, as two processes have them. */
export type OpenStores = () => readonly [Store, Store]

/** Runs one cell. Returns what went wrong. */
export async function runCell(cell: Cell, open: OpenStores, turn: () => Promise<void>): Promise<string[]> {
  const { kind, run, change, moment, by, groups, loss } = cell
  const problems: string[] = []
  const source = new Source()
  const [one, two] = open().map((store) => new Process(store, kind, source)) as [Process, Process]
  const changer = by === 'same' ? one : two
  if (groups === 'warm') {
    await one.read()
    await one.change('evict group')
  }
  const [at, when] = moment
  const held =
    at === 'nowhere'
      ? undefined
      : at === 'handler'
        ? source.hold()
        : one.store.hold(at, when === 'before' ? 'before' : 'after')
  if (loss?.of === 'runner') one.store.lose(loss.verb, loss.what)
  const running = run === 'fill' ? one.read() : one.write()
  const runningConfirmed = (): Promise<boolean> => running.then((end) => end !== false)
  await (held === undefined ? running : Promise.race([held.reached, running.then(held.release)]))
  const before = source.version
  const early = [one.read(), two.read()]
  await turn()
  if (loss?.of === 'changer') changer.store.lose(loss.verb, loss.what)
  const confirmed = await changer.change(change)
  const changed = source.version
  const late = [one, two].map((process) => ({ process, answer: process.read() }))
  await turn()
  held?.release()
  await running
  for (const answer of await Promise.all(early)) if (answer < before) problems.push(`an early request got ${answer}`)
  for (const { process, answer } of late) {
    // What is not confirmed is not known elsewhere yet.
    const known = confirmed || process === changer
    if (known && (await answer) < changed) problems.push(`a late request got ${await answer} after ${changed}`)
    await answer
  }
  for (const { store } of [one, two]) store.behave()
  const allConfirmed = (await runningConfirmed()) && confirmed
  if (!allConfirmed) await confirmAll([one, two], turn)
  for (const process of [one, two, one, two]) {
    const answer = await process.read()
    if (answer !== source.version) problems.push(`at the end ${answer} is served, and ${source.version} is true`)
  }
  const runs = source.runs
  await one.read()
  await two.read()
  if (source.runs !== runs) problems.push('nothing is cached any more')
  const leases = await one.leases()
  if (leases.length > 0) problems.push(`leases are left: ${leases.join(', ')}`)
  if (one.scope.filling + two.scope.filling > 0) problems.push('a fill is left')
  for (const process of [one, two]) process.scope.close()
  return problems
}

/** Has both processes retry what they could not confirm, and waits for it. */
async function confirmAll(processes: readonly Process[], turn: () => Promise<void>): Promise<void> {
  for (const { scope } of processes) {
    scope.retry()
    for (let tries = 0; tries < 100; tries += 1) {
      const { state } = await scope.lookup({ key: PATH, path: PATH, groups: [''] })
      if (state !== 'outage') break
      await turn()
    }
  }
}

/** Runs cells one after the other. Returns those that fail (`max` of them), with what went wrong. */
export async function failures(
  cells: readonly Cell[],
  open: OpenStores,
  turn: () => Promise<void>,
  max = 20,
): Promise<string[]> {
  const failed: string[] = []
  for (const cell of cells) {
    if (failed.length === max) break
    const problems = await withinTime(runCell(cell, open, turn))
    if (problems.length > 0) failed.push(`${describeCell(cell)}: ${problems.join('; ')}`)
  }
  return failed
}

/** A cell takes milliseconds; one that stands still is a wait that nothing ends. */
const CELL_LIMIT_MS = 5000

async function withinTime(running: Promise<string[]>): Promise<string[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string[]>((resolve) => {
    timer = setTimeout(() => resolve(['somebody still waits']), CELL_LIMIT_MS)
  })
  try {
    return await Promise.race([running, late])
  } finally {
    clearTimeout(timer)
  }
}
