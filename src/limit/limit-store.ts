import type { MaybePromise } from '../maybe-promise.js'
import type { Connection } from '../redis/connection.js'
import { askScript, type Reply, type Script } from '../redis/command.js'
import { type LimitState, windowsOf } from './limit-state.js'
import type { Rate } from './rate.js'
import { scripts } from './scripts.js'
import { type Algorithm, charge, expiresAt, inspect, type RateOutcome, refund, type Sections } from './window.js'

/** What is asked of a store about one identity. */
export interface LimitCall {
  readonly operation: 'hit' | 'peek' | 'refund' | 'block'
  readonly algorithm: Algorithm
  readonly rates: readonly Rate[]
  readonly cost: number
  /** After so many refusals the identity is refused for so long; `after` 0: never. Of `block`: for how long. */
  readonly ban: { readonly after: number; readonly forMs: number }
  /** Of `refund`: time of the hit in the store's milliseconds; undefined: the oldest hits. */
  readonly at?: number | undefined
}

export interface LimitReply {
  readonly allowed: boolean
  /** Milliseconds of the store's clock. */
  readonly now: number
  /** End of a ban by that clock; 0: none. */
  readonly bannedUntil: number
  /** One for each rate, in their order. */
  readonly outcomes: readonly RateOutcome[]
}

/** Where counts live. Both implementations pass test/limit/store.test.ts. Rejects with UnavailableError. */
export interface LimitStore {
  run(key: string, call: LimitCall): MaybePromise<LimitReply>
  /** Returns whether anything was counted. */
  reset(key: string): MaybePromise<boolean>
}

const FORMATS: Readonly<Record<Algorithm, string>> = { 'sliding-window': '1', 'fixed-window': '2', 'token-bucket': '3' }

/** One key and one script: every rate of a call is decided together, by Redis' clock. */
export class RedisLimitStore implements LimitStore {
  readonly #connection: Pick<Connection, 'ask' | 'execute'>
  readonly #script: Script
  /** A limiter's rates are one list for its whole life. */
  readonly #arguments = new WeakMap<readonly Rate[], Partial<Record<Algorithm, RateArguments>>>()

  /** `script`: in place of the one of lua/, in tests. */
  constructor(connection: Pick<Connection, 'ask' | 'execute'>, script: Script = scripts.limit) {
    this.#connection = connection
    this.#script = script
  }

  run(key: string, call: LimitCall): Promise<LimitReply> {
    const args = this.#argumentsOf(call)
    return new Promise((resolve, onError) => {
      const onReply = (reply: Reply): void => resolve(parseReply(reply))
      askScript(this.#connection, this.#script, [key], args, undefined, { onReply, onError })
    })
  }

  async reset(key: string): Promise<boolean> {
    return Number(await this.#connection.execute(['UNLINK', key], key)) > 0
  }

  /** Most calls are hits of one unit, and each argument costs as much as a rate. */
  #argumentsOf({ operation, algorithm, rates, cost, ban, at }: LimitCall): readonly string[] {
    let known = this.#arguments.get(rates)
    if (known === undefined) this.#arguments.set(rates, (known = {}))
    const { hit, life, units } = (known[algorithm] ??= rateArguments(algorithm, rates))
    if (operation === 'hit' && cost === 1 && ban.forMs === 0) return hit
    const extras = [cost, ban.after, ban.forMs, at ?? ''].map(String)
    return [`${operation.charAt(0)}${FORMATS[algorithm]}+`, life, ...extras, ...units]
  }
}

/** Arguments of the script. */
interface RateArguments {
  /** Of a plain hit, all of them. */
  readonly hit: readonly string[]
  /** Milliseconds after which a hit is over in every window. */
  readonly life: string
  /** Of the rates alone. */
  readonly units: readonly string[]
}

function rateArguments(algorithm: Algorithm, rates: readonly Rate[]): RateArguments {
  const numbers = rates.flatMap(({ limit, windowMs, burst }) =>
    algorithm === 'token-bucket' ? [limit, windowMs, burst] : [limit, windowMs],
  )
  const units = numbers.map(String)
  const life = String(Math.max(...rates.map(({ windowMs }) => windowMs)) + 1)
  return { hit: [`h${FORMATS[algorithm]}`, life, ...units], life, units }
}

/** What the script returns: numbers of eight bytes each. */
function parseReply(reply: Reply): LimitReply {
  const bytes = Buffer.isBuffer(reply) ? reply : Buffer.alloc(HEAD_BYTES)
  const outcomes: RateOutcome[] = []
  for (let at = HEAD_BYTES; at < bytes.length; at += RATE_BYTES) {
    const retryMs = bytes.readDoubleLE(at + 16)
    outcomes.push({
      remaining: bytes.readDoubleLE(at),
      resetMs: bytes.readDoubleLE(at + 8),
      retryMs: retryMs < 0 ? Infinity : retryMs,
      nextMs: bytes.readDoubleLE(at + 24),
    })
  }
  return {
    allowed: bytes.readDoubleLE(0) === 1,
    now: bytes.readDoubleLE(8),
    bannedUntil: bytes.readDoubleLE(16),
    outcomes,
  }
}

const HEAD_BYTES = 24
const RATE_BYTES = 32

interface Counted {
  algorithm: Algorithm
  sections: Sections
  bannedUntil: number
  refusals: number
  since: number
  expiresAt: number
}

/** Identities counted in this process; the oldest are forgotten beyond it. */
const KEYS_MAX = 100_000

/** Counts in this process: the embedded store, and the fallback while Redis is unavailable. */
export class MemoryLimitStore implements LimitStore {
  /** Milliseconds, with fractions where the clock has them. */
  readonly #now: () => number
  readonly #keysMax: number
  /** In the order of their last change. */
  readonly #counts = new Map<string, Counted>()

  constructor(now: () => number, keysMax = KEYS_MAX) {
    this.#now = now
    this.#keysMax = keysMax
  }

  get size(): number {
    return this.#counts.size
  }

  run(key: string, call: LimitCall): LimitReply {
    const us = Math.round(this.#now() * 1000)
    const now = Math.floor(us / 1000)
    const counted = this.#find(key, call.algorithm, now)
    const reply = this.#decide(counted, call, us, now)
    counted.expiresAt = Math.max(
      expiresAt(counted.sections),
      counted.bannedUntil,
      counted.refusals > 0 ? counted.since + call.ban.forMs : 0,
    )
    this.#counts.delete(key)
    if (counted.expiresAt > now) this.#keep(key, counted, now)
    return reply
  }

  reset(key: string): boolean {
    return this.#counts.delete(key)
  }

  /** What is counted now, by key. */
  states(): ReadonlyMap<string, LimitState> {
    const now = Math.floor(this.#now())
    const live = [...this.#counts].filter(([, counted]) => counted.expiresAt > now)
    return new Map(
      live.map(([key, { algorithm, sections, bannedUntil, refusals }]) => [
        key,
        { algorithm, bannedUntil, refusals, windows: windowsOf(sections, now) },
      ]),
    )
  }

  #find(key: string, algorithm: Algorithm, now: number): Counted {
    const known = this.#counts.get(key)
    if (known?.algorithm === algorithm && known.expiresAt > now) return known
    return { algorithm, sections: new Map(), bannedUntil: 0, refusals: 0, since: 0, expiresAt: 0 }
  }

  #decide(counted: Counted, call: LimitCall, us: number, now: number): LimitReply {
    const { operation, ban } = call
    if (operation === 'refund') refund(counted.sections, call, us, call.at)
    if (operation === 'block') counted.bannedUntil = now + ban.forMs
    const banned = counted.bannedUntil > now
    const hits = operation === 'hit' && !banned
    const outcomes = hits ? charge(counted.sections, call, us) : inspect(counted.sections, call, us)
    const allowed = !banned && outcomes.every((outcome) => outcome.retryMs === 0)
    if (hits && !allowed && ban.after > 0) noteRefusal(counted, ban, now)
    return { allowed, now, bannedUntil: counted.bannedUntil > now ? counted.bannedUntil : 0, outcomes }
  }

  #keep(key: string, counted: Counted, now: number): void {
    this.#counts.set(key, counted)
    for (const [oldest, { expiresAt: end }] of this.#counts) {
      if (this.#counts.size <= this.#keysMax && end > now) return
      this.#counts.delete(oldest)
    }
  }
}

function noteRefusal(counted: Counted, ban: LimitCall['ban'], now: number): void {
  if (counted.since + ban.forMs <= now) Object.assign(counted, { refusals: 0, since: now })
  counted.refusals += 1
  if (counted.refusals >= ban.after) Object.assign(counted, { bannedUntil: now + ban.forMs, refusals: 0, since: 0 })
}
