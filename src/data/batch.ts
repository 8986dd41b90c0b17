import type { Background } from '../cache/background.js'
import type { CacheScope } from '../cache/cache-scope.js'
import type { Absent, EntryLookup } from '../cache/entry-ref.js'
import type { FillLease } from '../cache/fill.js'
import type { Key } from '../cache/key.js'
import { UsageError } from '../errors.js'
import {
  acquiredFound,
  contextOf,
  Decisions,
  LazySignal,
  type Loads,
  previousOf,
  runWithin,
  type Stale,
  tellPlan,
  type Wanted,
} from './loader.js'
import {
  type BatchContext,
  type BatchLoader,
  type GetOrSetManyOptions,
  type ReadOptions,
  type ResolvedValueOptions,
  resolveValueOptions,
  type ValueEntry,
} from './options.js'
import { entryFound, type Shared, type ValueCache } from './value-cache.js'

/** One key of a call for many, with all the places in the caller's list where it stands. */
interface Item<K> extends Wanted {
  readonly named: K
  readonly indexes: readonly number[]
}

/** A value that this caller loads; without a fill it stores nothing. */
interface Task<K> {
  readonly item: Item<K>
  readonly stale: Stale | undefined
  readonly fill: FillLease | undefined
}

/** What is to be loaded, and why. */
interface ToLoad {
  readonly stale: Stale | undefined
  readonly absent: Absent
  readonly reason: string
}

/** How a caller's key becomes a key of the cache, and the groups its value is in. */
export interface Naming<K> {
  key(named: K): Key
  groups(named: K): readonly string[]
}

/** Calls for many values at once: one trip to read them, one call of the loader for those that are not there. */
export class Many<K> {
  readonly #cache: ValueCache
  readonly #loads: Loads
  readonly #space: CacheScope
  readonly #background: Background
  readonly #naming: Naming<K>

  constructor(cache: ValueCache, { space, background }: Shared, naming: Naming<K>) {
    this.#cache = cache
    this.#loads = cache.loads
    this.#space = space
    this.#background = background
    this.#naming = naming
  }

  async get(keys: readonly K[], options: ReadOptions & { readonly default?: unknown }): Promise<unknown[]> {
    const entries = await this.#entries(keys, options)
    return entries.map((entry) => (entry.outcome === 'hit' ? entry.value : options.default))
  }

  async #entries(keys: readonly K[], options: ReadOptions): Promise<ValueEntry<unknown>[]> {
    const items = this.#items('getMany', keys, options)
    const asking = this.#cache.recorder.start('getMany')
    const looks = await asking.run(() => this.#look(items))
    asking.end()
    const entries: ValueEntry<unknown>[] = []
    const describe = async (item: Item<K>, look: EntryLookup): Promise<void> => {
      const entry = await this.#cache.describe(look, item.shared)
      asking.part().found(entryFound(entry, look, item.place))
      for (const index of item.indexes) entries[index] = entry
    }
    await Promise.all(items.map((item, index) => describe(item, looks[index] as EntryLookup)))
    return entries
  }

  /** Each key's value, or why it has none, in the order of the keys. */
  async getOrSet<T>(
    keys: readonly K[],
    loader: BatchLoader<K, T>,
    options: GetOrSetManyOptions,
  ): Promise<PromiseSettledResult<T>[]> {
    const plain = this.#items('getOrSetMany', keys, options)
    const asking = this.#cache.recorder.start('getOrSetMany')
    const items = plain.map((item) => ({ ...item, asking: asking.part() }))
    const looks = await asking.run(() => this.#look(items))
    asking.end()
    const answers = await this.#answers(items, looks, loader, options)
    const settled = await Promise.allSettled(answers)
    const results: PromiseSettledResult<T>[] = []
    items.forEach(({ indexes }, nth) => {
      for (const index of indexes) results[index] = settled[nth] as PromiseSettledResult<T>
    })
    return results
  }

  /** A promise for each item. Those that are loaded here share one call of the loader. */
  async #answers<T>(
    items: readonly Item<K>[],
    looks: readonly EntryLookup[],
    loader: BatchLoader<K, T>,
    options: GetOrSetManyOptions,
  ): Promise<Promise<T>[]> {
    const batch = new Batch<K, T>(this.#loads, loader)
    const behind: { item: Item<K>; stale: Stale; absent: Absent }[] = []
    const plans = await Promise.all(items.map((item, index) => this.#loads.plan(item, looks[index] as EntryLookup)))
    const answers = await Promise.all(
      plans.map(async (plan, index): Promise<() => Promise<T>> => {
        const item = items[index] as Item<K>
        tellPlan(item, plan)
        if (plan.do === 'give') return () => Promise.resolve(plan.value as T)
        if (plan.do === 'alone') return batch.add({ item, stale: undefined, fill: undefined })
        if (plan.do === 'load') return this.#load(batch, item, plan)
        behind.push({ item, stale: plan.stale, absent: plan.absent })
        return () => Promise.resolve(plan.stale.value as T)
      }),
    )
    if (behind.length > 0) this.#background.add(this.#refresh(behind, loader))
    batch.run(options.signal)
    return answers.map((answer) => answer())
  }

  /** Ours to load, or somebody else's: then it is waited for while ours are loaded, never the other way round. */
  async #load<T>(batch: Batch<K, T>, item: Item<K>, { stale, absent, reason }: ToLoad): Promise<() => Promise<T>> {
    const acquired = await this.#loads.acquire(item, absent, 0)
    const busy = acquired.state === 'found' || (acquired.state === 'alone' && acquired.reason === 'busy')
    if (busy) {
      const waiting = this.#wait(item, { stale, absent, reason }, batch)
      // It may fail before the answers are collected.
      waiting.catch(() => {})
      return () => this.#loads.orStale(item, stale, waiting)
    }
    const missed = { outcome: 'miss', reason, place: item.place } as const
    item.asking?.found(acquired.state === 'fill' ? missed : acquiredFound(acquired, false, item.place))
    const loading = batch.add({ item, stale, fill: acquired.state === 'fill' ? acquired.fill : undefined })
    return () => this.#loads.orStale(item, stale, loading())
  }

  /**
   * Who waits holds no lease of another key but those that are being loaded, so that two callers never wait for one
   * another. A key whose holder gave up is loaded by itself.
   */
  #wait<T>(item: Item<K>, plan: ToLoad, batch: Batch<K, T>): Promise<T> {
    const { stale } = plan
    return this.#loads.loadOne(item, plan, (fill) => {
      const single = new Batch<K, T>(this.#loads, batch.loader)
      const loading = single.add({ item, stale, fill })
      single.run(item.signal)
      return loading()
    })
  }

  async #refresh<T>(
    behind: readonly { item: Item<K>; stale: Stale; absent: Absent }[],
    loader: BatchLoader<K, T>,
  ): Promise<void> {
    const batch = new Batch<K, T>(this.#loads, loader)
    const acquiring = behind.map(async ({ item, stale, absent }) => {
      const acquired = await this.#loads.acquire({ ...item, signal: undefined }, absent, 0)
      if (acquired.state !== 'fill') return undefined
      this.#cache.recorder.refreshes('stale')
      return batch.add({ item, stale, fill: acquired.fill })
    })
    const loading = await Promise.all(acquiring)
    batch.run(undefined)
    await Promise.allSettled(loading.flatMap((answer) => (answer === undefined ? [] : [answer()])))
  }

  #items(operation: string, keys: readonly K[], options: GetOrSetManyOptions): Item<K>[] {
    const resolved = this.#cache.resolve(operation, options)
    const shared = options.shared ?? this.#cache.defaults.shared
    const items = new Map<string, Item<K> & { indexes: number[] }>()
    keys.forEach((named, index) => {
      const key = this.#naming.key(named)
      const own = this.#naming.groups(named)
      const all = own.length === 0 ? resolved : withGroups(operation, resolved, own)
      const place = this.#cache.values.place(key, all.groups)
      const known = items.get(place.key)
      if (known !== undefined) known.indexes.push(index)
      else items.set(place.key, { named, key, place, options: all, signal: options.signal, shared, indexes: [index] })
    })
    return [...items.values()]
  }

  #look(items: readonly Item<K>[]): readonly EntryLookup[] | Promise<readonly EntryLookup[]> {
    return items.length === 0 ? [] : this.#space.lookupMany(items.map(({ place }) => place))
  }
}

function withGroups(operation: string, options: ResolvedValueOptions, group: readonly string[]): ResolvedValueOptions {
  return resolveValueOptions(`options of ${operation}`, { group }, options)
}

/** One call of a loader for many keys, and what each of them got from it. */
class Batch<K, T> {
  readonly loader: BatchLoader<K, T>
  readonly #loads: Loads
  #tasks: Task<K>[] = []
  #indexes = new Map<Task<K>, number>()
  #loaded: Promise<Loaded<T>> | undefined

  constructor(loads: Loads, loader: BatchLoader<K, T>) {
    this.#loads = loads
    this.loader = loader
  }

  /** Gives the way to the answer, which is there once the batch runs. */
  add(task: Task<K>): () => Promise<T> {
    this.#tasks.push(task)
    return () => this.#answer(task)
  }

  run(signal: AbortSignal | undefined): void {
    if (this.#tasks.length === 0) return
    // Leases come in any order; the loader gets its keys in that of the caller.
    this.#tasks = this.#tasks.toSorted((a, b) => (a.item.indexes[0] as number) - (b.item.indexes[0] as number))
    this.#indexes = new Map(this.#tasks.map((task, index) => [task, index]))
    this.#loaded = this.#load(signal)
    // Each answer has it, too; where nobody asks for one it must not count as unhandled.
    this.#loaded.catch(() => {})
  }

  async #load(caller: AbortSignal | undefined): Promise<Loaded<T>> {
    const signal = new LazySignal()
    const decisions = this.#tasks.map(({ item }) => new Decisions(item.options))
    const items = this.#tasks.map(({ stale }, index) =>
      contextOf<T>(signal, decisions[index] as Decisions, previousOf<T>(stale)),
    )
    const context: BatchContext<T> = {
      items,
      get signal() {
        return signal.signal
      },
      store: (options) => decisions.forEach((one) => one.store(options)),
      noStore: () => items.forEach((one) => one.noStore()),
    }
    const keys = this.#tasks.map(({ item }) => item.named)
    const { timeoutMs } = (this.#tasks[0] as Task<K>).item.options
    const limits = { timeoutMs, signal: caller, what: () => `${keys.length} keys` }
    const values = await runWithin(limits, signal, () => this.loader(keys, context))
    if (!Array.isArray(values) || values.length !== keys.length)
      throw new UsageError(
        `The loader of getOrSetMany must give a list with one value for each of its ${keys.length} keys.`,
      )
    return { values, decisions }
  }

  async #answer(task: Task<K>): Promise<T> {
    const { item, stale, fill } = task
    const index = this.#indexes.get(task) as number
    try {
      const { values, decisions } = await (this.#loaded as Promise<Loaded<T>>)
      const value: unknown = values[index]
      if (value instanceof Error) throw value
      return (await this.#loads.conclude(item, stale, value, decisions[index] as Decisions, fill)) as T
    } catch (error) {
      await fill?.release().catch(() => {})
      throw error
    }
  }
}

interface Loaded<T> {
  readonly values: readonly (T | Error)[]
  readonly decisions: readonly Decisions[]
}
