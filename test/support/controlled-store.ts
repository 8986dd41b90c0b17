import { UnavailableError } from '../../src/errors.js'
import type { Store } from '../../src/store/store.js'

const VERBS = [
  'read',
  'clock',
  'acquireLease',
  'publish',
  'renewLease',
  'releaseLease',
  'isLeased',
  'wake',
  'beginWrite',
  'commitWrite',
  'put',
  'set',
  'evict',
  'invalidate',
  'addVariant',
  'variants',
  'extend',
] as const satisfies readonly (keyof Store)[]

export type StoreVerb = (typeof VERBS)[number]

/** A point at which one call of a verb stands still until it is released. */
export interface HoldPoint {
  /** Resolves when a call has come here. */
  readonly reached: Promise<void>
  /** Lets it go on; a call that has not come yet is not held. */
  release(): void
}

interface Rule {
  readonly verb: StoreVerb
  readonly when: 'before' | 'after'
  readonly act: () => Promise<void>
}

/** A store whose calls a test holds, loses and counts, so that it decides the order in which things happen. */
export interface ControlledStore extends Store {
  /** The next call of the verb waits: before it reaches the store, or with its reply under way. */
  hold(verb: StoreVerb, when: 'before' | 'after'): HoldPoint
  /** The next call of the verb is lost: the command on its way there, or the reply on its way back. */
  lose(verb: StoreVerb, what: 'command' | 'reply'): void
  /** Forgets holds and losses that no call has met. */
  behave(): void
  readonly calls: Record<StoreVerb, number>
}

export function controlled(store: Store): ControlledStore {
  const rules: Rule[] = []
  const calls = Object.fromEntries(VERBS.map((verb) => [verb, 0])) as Record<StoreVerb, number>
  const take = (verb: StoreVerb): Rule[] => {
    const own = ['before', 'after'].flatMap((when) => rules.find((one) => one.verb === verb && one.when === when) ?? [])
    for (const rule of own) rules.splice(rules.indexOf(rule), 1)
    return own
  }
  const call = (verb: StoreVerb, args: unknown[]): unknown => {
    calls[verb] += 1
    const run = (): unknown => Reflect.apply(store[verb], store, args)
    const own = take(verb)
    if (own.length === 0) return run()
    return (async () => {
      await own.find(({ when }) => when === 'before')?.act()
      const reply = await run()
      await own.find(({ when }) => when === 'after')?.act()
      return reply
    })()
  }
  const verbs = Object.fromEntries(VERBS.map((verb) => [verb, (...args: unknown[]) => call(verb, args)]))
  const controls = {
    calls,
    behave(): void {
      rules.length = 0
    },
    hold(verb: StoreVerb, when: 'before' | 'after'): HoldPoint {
      const reached = signal()
      const released = signal()
      const act = (): Promise<void> => {
        reached.resolve()
        return released.promise
      }
      const rule = { verb, when, act }
      rules.push(rule)
      const release = (): void => {
        if (rules.includes(rule)) rules.splice(rules.indexOf(rule), 1)
        released.resolve()
      }
      return { reached: reached.promise, release }
    },
    lose(verb: StoreVerb, what: 'command' | 'reply'): void {
      const act = async (): Promise<void> => {
        throw new UnavailableError('deadline', `the ${what} of ${verb} is lost`)
      }
      rules.push({ verb, when: what === 'command' ? 'before' : 'after', act })
    },
  }
  return new Proxy(store, {
    get(target, name) {
      // A hit from memory would pass by the verbs.
      if (name === 'local') return undefined
      const own: unknown = Reflect.get(controls, name) ?? Reflect.get(verbs, name)
      const value: unknown = own ?? Reflect.get(target, name, target)
      return typeof value === 'function' && own === undefined ? value.bind(target) : value
    },
  }) as ControlledStore
}

/** Stands for one store after the other, for a handle that outlives them. */
export class StoreSlot {
  #current: Store | undefined

  readonly store: Store = new Proxy({ prefix: 'test' } as Store, {
    get: (target, name) => {
      const from = this.#current ?? target
      const value: unknown = Reflect.get(from, name)
      return typeof value === 'function' ? value.bind(from) : value
    },
  })

  enter(store: Store): void {
    this.#current = store
  }
}

export interface Signal {
  readonly promise: Promise<void>
  readonly resolve: () => void
}

export function signal(): Signal {
  let resolve = (): void => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/** Lets everything go on that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}
