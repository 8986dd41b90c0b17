import type { CacheScope } from '../../src/cache/cache-scope.js'
import type { Store } from '../../src/store/store.js'
import {
  type ControlledStore,
  controlled,
  type HoldPoint,
  signal,
  type StoreVerb,
} from '../support/controlled-store.js'

/*
 * Every kind of entry, under every kind of change, at every moment of the run that fills or writes it, with every
 * command lost: each combination is a cell. Two processes share a store; the order is forced by holding a command of
 * one of them, or its handler, and never by sleeping.
 */

export const HOSTS = ['scope', 'route', 'data', 'namespace'] as const

/** What asks the cache: this suite itself, a route, the data cache. */
export type Host = (typeof HOSTS)[number]

export const KINDS = ['plain', 'named groups', 'declared vary', 'learned vary', 'per principal'] as const

/** What routes alone know. The request that changes is of another principal, variant or version than the one that reads. */
const ROUTE_OPTIONS = [
  'per: true',
  'per: true, read by nobody',
  'per: function, evicted per principal',
  'shared: true',
  'a version that the router decides by',
  'vary by a cookie',
  'vary by a function',
  'when',
  'storeWhen',
] as const

/** Of a URI, which every write to it invalidates by itself, and of a key function, where the options alone decide. */
const ROUTE_KINDS = ROUTE_OPTIONS.flatMap((kind) => [kind, `${kind}, with a key of its own`] as const)

/** What frameworks alone know: the principal comes from a session. */
export const SESSION_KIND = 'per: true, of a session'

type RouteKind = (typeof ROUTE_KINDS)[number]

export type Kind = (typeof KINDS)[number] | RouteKind | typeof SESSION_KIND

export function isOfRoutes(kind: Kind): boolean {
  return (ROUTE_KINDS as readonly Kind[]).includes(kind)
}

/** Whether the route has a key function. */
export function hasOwnKey(kind: Kind): boolean {
  return kind.endsWith('key of its own')
}

function refuses(kind: Kind): boolean {
  return kind.startsWith('storeWhen')
}

export const CHANGES = [
  'evict path',
  'delete path',
  'automatic',
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

/** A response that `storeWhen` refuses gives the lease back. */
const REFUSED_MOMENTS = [
  ['read', 'after'],
  ['acquireLease', 'before'],
  ['acquireLease', 'after'],
  ['handler', 'during'],
  ['releaseLease', 'before'],
  ['releaseLease', 'after'],
  ['nowhere', 'after'],
] as const

/**
 * A write evicts the path where its response is refused, and where it cannot know which fields the path varies by,
 * because handlers name them.
 */
const EVICTING_MOMENTS = [
  ['handler', 'during'],
  ['evict', 'before'],
  ['evict', 'after'],
  ['nowhere', 'after'],
] as const

export type Moment = (
  | typeof FILL_MOMENTS
  | typeof WRITE_MOMENTS
  | typeof REFUSED_MOMENTS
  | typeof EVICTING_MOMENTS
)[number]

/** A command that is lost once: on its way to the store or with its reply, in the process that runs or that changes. */
export interface Loss {
  readonly of: 'runner' | 'changer'
  readonly verb: StoreVerb
  readonly what: 'command' | 'reply'
}

export interface Cell {
  readonly host: Host
  readonly kind: Kind
  readonly run: 'fill' | 'write'
  readonly change: Change
  readonly moment: Moment
  /** Whether the change comes from the process of the run or from the other one. */
  readonly by: 'same' | 'other'
  /** What was there before: nothing, groups with an entry that was evicted, or an entry. */
  readonly groups: 'cold' | 'warm' | 'stored'
  readonly loss?: Loss | undefined
}

function describeCell({ host, kind, run, change, moment, by, groups, loss }: Cell): string {
  const lost = loss === undefined ? '' : `, ${loss.what} of ${loss.verb} lost by the ${loss.of}`
  return `${host}, ${kind}: ${run} held at ${moment.join(' ')}, ${change} by the ${by} process, ${groups}${lost}`
}

const BY = ['same', 'other'] as const

/** A fill with an entry there would be a hit. */
const GROUPS = { fill: ['cold', 'warm'], write: ['cold', 'warm', 'stored'] } as const

const RUNNER_LOSSES = ['read', 'clock', 'acquireLease', 'put', 'publish', 'beginWrite', 'commitWrite', 'evict'] as const

const CHANGER_LOSSES = ['beginWrite', 'commitWrite', 'evict', 'invalidate', 'set'] as const

/**
 * All cells of one kind of entry and one kind of change. `losses`: with each command lost as well, once; `some` loses
 * them where another process makes the change and groups exist.
 */
export function cellsOf(host: Host, kind: Kind, change: Change, losses: 'all' | 'some' | 'none'): Cell[] {
  if (!isPossible(host, kind, change)) return []
  const plain = (['fill', 'write'] as const).flatMap((run) =>
    momentsOf(host, kind, run).flatMap((moment) =>
      BY.flatMap((by) => GROUPS[run].map((groups) => ({ host, kind, run, change, moment, by, groups }))),
    ),
  )
  // What has learned the fields once does not put a variant again.
  const cells = plain.filter(({ moment: [at], groups }) => at !== 'put' || groups === 'cold')
  if (losses === 'none') return cells
  const every: Loss[] = [
    ...RUNNER_LOSSES.map((verb) => ({ of: 'runner', verb }) as const),
    ...CHANGER_LOSSES.map((verb) => ({ of: 'changer', verb }) as const),
  ].flatMap((loss) => (['command', 'reply'] as const).map((what) => ({ ...loss, what })))
  const base = losses === 'all' ? cells : cells.filter(({ by, groups }) => by === 'other' && groups === 'warm')
  return [...cells, ...base.flatMap((cell) => every.map((loss) => ({ ...cell, loss })).filter(isOfUse))]
}

function momentsOf(host: Host, kind: Kind, run: Cell['run']): readonly Moment[] {
  if (run === 'fill' && refuses(kind)) return REFUSED_MOMENTS
  if (run === 'fill') return FILL_MOMENTS.filter(([verb]) => verb !== 'put' || kind === 'learned vary')
  const evicts = refuses(kind) || (host === 'route' && kind === 'learned vary')
  return evicts ? EVICTING_MOMENTS : WRITE_MOMENTS
}

/** The kinds of a framework's routes. None of them decides by versions alone, and what their keys leave out is shown above. */
export const FRAMEWORK_KINDS: readonly Kind[] = [
  ...KINDS,
  ...ROUTE_OPTIONS.filter((kind) => !kind.startsWith('a version')),
  SESSION_KIND,
]

/** The combinations that there are for one host. */
export function rowsOf(host: Host, own?: readonly Kind[]): (readonly [Kind, Change])[] {
  const kinds: readonly Kind[] = own ?? (host === 'route' ? [...KINDS, ...ROUTE_KINDS] : KINDS)
  return kinds
    .flatMap((kind) => CHANGES.map((change) => [kind, change] as const))
    .filter(([kind, change]) => isPossible(host, kind, change))
}

function isPossible(host: Host, kind: Kind, change: Change): boolean {
  const isData = host === 'data' || host === 'namespace'
  if (isData && kind !== 'plain' && kind !== 'named groups') return false
  if (change === 'set') return kind === 'plain' && host !== 'route'
  if (change === 'evict named group') return kind === 'named groups'
  if (change === 'automatic' || change === 'delete path') return host === 'route' && !hasOwnKey(kind)
  if (change === 'write-through with its own group' || change === 'write that stores nothing') return !isData
  return true
}

/** Leaves out losses of commands that the cell does not send. */
function isOfUse({ run, change, loss, kind }: Cell & { readonly loss: Loss }): boolean {
  const { of, verb } = loss
  if (of === 'runner') {
    if (verb === 'put') return kind === 'learned vary' && run === 'fill'
    return (verb === 'beginWrite' || verb === 'commitWrite' || verb === 'evict') === (run === 'write')
  }
  if (verb === 'set') return change === 'set'
  // What `when` leaves out only evicts.
  if (change.startsWith('write') && kind.startsWith('when')) return verb === 'evict'
  if (change.startsWith('write')) return verb === 'beginWrite' || verb === 'commitWrite'
  return verb === (change.endsWith('path') || change === 'automatic' ? 'evict' : 'invalidate')
}

/** The source that handlers read and writes change. */
export class Source {
  version = 1
  runs = 0
  /** A run is being crossed. */
  crossed = false
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

/** What uses the cache in one process: requests that read, requests that change. */
export interface Subject {
  readonly scope: CacheScope
  /** One request; the version that it is answered with. */
  read(): Promise<number>
  /** A write-through, as the run that is crossed. */
  write(): Promise<void>
  /** Commits to the source, then invalidates. */
  change(change: Change): Promise<void>
  close(): Promise<void>
}

export type OpenSubject = (cell: Cell, store: Store, source: Source) => Subject

/** Two stores over the same data, as two processes have them. */
export type OpenStores = () => readonly [Store, Store]

/** Where the processes of a cell keep their entries. */
export interface Place {
  readonly open: OpenStores
  /** Lets everything happen that waits for nothing but the store. */
  readonly turn: () => Promise<void>
  /** What stands between a process and its store, inside of which commands are held and lost. */
  readonly before?: (store: Store, process: 0 | 1) => Store
  /** Resolves when what one process was told about the changes of the other has come. */
  readonly told?: () => Promise<void>
  readonly close: () => Promise<void>
}

interface Process {
  readonly store: ControlledStore
  readonly subject: Subject
}

/** Runs one cell. Returns what went wrong. */
async function runCell(cell: Cell, place: Place, openSubject: OpenSubject): Promise<string[]> {
  const { run, change, moment, by, groups, loss } = cell
  const { open, turn, before: front = (store: Store) => store, told = async () => {} } = place
  const problems: string[] = []
  const source = new Source()
  const start = (inner: Store, process: 0 | 1): Process => {
    const store = controlled(inner)
    return { store, subject: openSubject(cell, front(store, process), source) }
  }
  const [first, second] = open()
  const [one, two] = [start(first, 0), start(second, 1)]
  const changer = by === 'same' ? one : two
  if (groups !== 'cold') await one.subject.read()
  // The response may be here before its store is confirmed; until then a request would join that run.
  await one.subject.scope.background.settled(1000)
  if (groups === 'warm') await one.subject.change('evict group')
  const before = source.version
  const [at, when] = moment
  source.crossed = true
  const held = at === 'nowhere' ? undefined : at === 'handler' ? source.hold() : one.store.hold(at, when)
  if (loss?.of === 'runner') one.store.lose(loss.verb, loss.what)
  const running = run === 'fill' ? one.subject.read() : one.subject.write()
  const passed = held === undefined ? running : Promise.race([held.reached, running.then(() => 'unreached')])
  if ((await passed) === 'unreached') {
    held?.release()
    if (loss === undefined) problems.push('the run never came to the moment')
  }
  const early = [one.subject.read(), two.subject.read()]
  await turn()
  if (loss?.of === 'changer') changer.store.lose(loss.verb, loss.what)
  await changer.subject.change(change)
  const changed = source.version
  const confirmed = await isConfirmed(changer.subject)
  // The process of the change knows it at once; the other one when it was told.
  const late = [{ process: changer, answering: changer.subject.read() }]
  await told()
  const other = changer === one ? two : one
  late.push({ process: other, answering: other.subject.read() })
  await turn()
  held?.release()
  await running
  for (const answer of await Promise.all(early)) if (answer < before) problems.push(`an early request got ${answer}`)
  for (const { process, answering } of late) {
    const answer = await answering
    // What is not confirmed is not known to other processes yet.
    if ((confirmed || process === changer) && answer < changed)
      problems.push(`a late request got ${answer} after ${changed}`)
  }
  source.crossed = false
  for (const process of [one, two]) {
    process.store.behave()
    await confirm(process.subject, turn)
  }
  await told()
  for (const process of [one, two, one, two]) {
    const answer = await process.subject.read()
    if (answer !== source.version) problems.push(`at the end ${answer} is served, and ${source.version} is true`)
  }
  const { runs } = source
  await one.subject.read()
  await two.subject.read()
  if (source.runs !== runs) problems.push('nothing is cached any more')
  const { keys } = await one.subject.scope.inspect.match('leases', '*', '0', 1000)
  if (keys.length > 0) problems.push(`leases are left: ${keys.join(', ')}`)
  if (one.subject.scope.fills.size + two.subject.scope.fills.size > 0) problems.push('a fill is left')
  await Promise.all([one.subject.close(), two.subject.close()])
  return problems
}

/** A process with an unconfirmed invalidation serves nothing. */
async function isConfirmed({ scope }: Subject): Promise<boolean> {
  const { state } = await scope.lookup({ key: '/unused', path: '/unused', groups: [''] })
  return state !== 'outage'
}

async function confirm(process: Subject, turn: () => Promise<void>): Promise<void> {
  process.scope.retry()
  for (let tries = 0; tries < 100 && !(await isConfirmed(process)); tries += 1) await turn()
}

/** Runs cells one after the other. Returns those that fail (`max` of them), with what went wrong. */
export async function failures(
  cells: readonly Cell[],
  place: Place,
  openSubject: OpenSubject,
  max = 20,
): Promise<string[]> {
  const failed: string[] = []
  for (const cell of cells) {
    if (failed.length === max) break
    const problems = await withinTime(runCell(cell, place, openSubject))
    if (problems.length > 0) failed.push(`${describeCell(cell)}: ${problems.join('; ')}`)
  }
  return failed
}

/** A cell takes milliseconds; one that stands still is a wait that nothing ends. */
const CELL_LIMIT_MS = 5000

async function withinTime(running: Promise<string[]>): Promise<string[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string[]>((resolve) => {
    timer = setTimeout(() => resolve(['a request still waits']), CELL_LIMIT_MS)
  })
  try {
    return await Promise.race([running, late])
  } finally {
    clearTimeout(timer)
  }
}
