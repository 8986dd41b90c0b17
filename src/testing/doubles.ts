import { UnavailableError } from '../errors.js'
import { Memory, type MemoryOptions, MemoryStore } from '../store/memory-store.js'
import { type Store, STORE_VERBS, type Verb } from '../store/store.js'

/** A store that fails on demand; each call returns the same store, so that a test reads as a sentence. */
export interface ChaosStore extends Store {
  /** All calls (or those of the named verbs) reject, as when Redis is down. */
  failing(...verbs: Verb[]): this
  /** All calls (or those of the named verbs) take this many milliseconds longer. */
  slow(ms: number, ...verbs: Verb[]): this
  /** All calls (or those of the named verbs) take effect and reject: their replies are lost. */
  losingReplies(...verbs: Verb[]): this
  /** Ends all faults. */
  healthy(): this
  /** Count of calls by verb. */
  readonly calls: Readonly<Record<Verb, number>>
}

interface Fault {
  readonly fails: ReadonlySet<Verb>
  readonly loses: ReadonlySet<Verb>
  readonly slows: ReadonlySet<Verb>
  readonly slowMs: number
}

const NONE: ReadonlySet<Verb> = new Set()

const HEALTHY: Fault = { fails: NONE, loses: NONE, slows: NONE, slowMs: 0 }

/** Wraps a store, so that a test can make it fail, slow down or lose replies. */
export function chaos(store: Store): ChaosStore {
  let fault = HEALTHY
  const calls = Object.fromEntries(STORE_VERBS.map((verb) => [verb, 0])) as Record<Verb, number>
  const wrapped = Object.fromEntries(
    STORE_VERBS.map((verb) => [
      verb,
      (...args: unknown[]): unknown => {
        calls[verb] += 1
        const call = (): unknown => (store[verb] as (...values: unknown[]) => unknown).apply(store, args)
        return fault === HEALTHY ? call() : callWithFault(fault, verb, call)
      },
    ]),
  )
  const change = (more: Partial<Fault>): ChaosStore => {
    fault = { ...fault, ...more }
    return self
  }
  const self = Object.assign(wrapped as unknown as Store, {
    prefix: store.prefix,
    onWake: store.onWake.bind(store),
    calls,
    failing: (...verbs: Verb[]) => change({ fails: chosen(verbs) }),
    losingReplies: (...verbs: Verb[]) => change({ loses: chosen(verbs) }),
    slow: (ms: number, ...verbs: Verb[]) => change({ slowMs: ms, slows: chosen(verbs) }),
    healthy: () => {
      fault = HEALTHY
      return self
    },
  }) as ChaosStore
  return self
}

function chosen(verbs: readonly Verb[]): ReadonlySet<Verb> {
  return new Set(verbs.length === 0 ? STORE_VERBS : verbs)
}

async function callWithFault(fault: Fault, verb: Verb, call: () => unknown): Promise<unknown> {
  if (fault.slows.has(verb)) await new Promise((resolve) => setTimeout(resolve, fault.slowMs))
  if (fault.fails.has(verb)) throw new UnavailableError('error', `chaos: ${verb} fails`)
  const answer = await call()
  if (fault.loses.has(verb)) throw new UnavailableError('deadline', `chaos: the reply of ${verb} is lost`)
  return answer
}

/**
 * Embedded stores for the `store` option, one per prefix in one shared memory: two applications of a test with the same
 * `memoryStores()` share their entries as two processes share a Redis.
 *
 * @example
 * const store = memoryStores()
 * await app.register(redwell, { store, now: clock.now })
 */
export function memoryStores(options: MemoryOptions = {}): (prefix: string) => Store {
  const memory = new Memory(options)
  return (prefix) => new MemoryStore(memory, prefix)
}

/** A clock that moves only by `advance`. Pass its `now` to `createRedis` or the plugin. */
export interface TestClock {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Moves the clock forward by this many milliseconds. */
  advance(ms: number): void
}

/** A clock that stands still until `advance` is called. `startAt`: milliseconds since the epoch. Default: now. */
export function testClock(startAt: number = Date.now()): TestClock {
  let time = startAt
  return {
    now: () => time,
    advance(ms) {
      time += ms
    },
  }
}
