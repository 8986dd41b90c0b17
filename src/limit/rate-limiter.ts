import { bounded, encodePart } from '../cache/key.js'
import { DURATION_RULE, type Duration, durationMs } from '../duration.js'
import { describeValue, OptionsError, UnavailableError } from '../errors.js'
import { isPromise, type MaybePromise } from '../maybe-promise.js'
import type { RateLimitOutcome } from '../telemetry/events.js'
import type { LimitRecorder } from '../telemetry/outcomes.js'
import { type LimitCall, type LimitReply, type LimitStore, MemoryLimitStore } from './limit-store.js'
import { costProblem, type LimiterPolicy } from './options.js'
import type { Rate } from './rate.js'
import { Refusals } from './refusals.js'
import type { LocalBlocks } from './local-blocks.js'
import { bannedFor, type RateLimitVerdict, verdictOf } from './verdict.js'

/** Whom a limiter counts: a user's id, an API key, an address. The number 1 and the string '1' are the same identity. */
export type Identity = string | number | bigint

/** Options of a call of a rate limiter. */
export interface HitOptions {
  /** Units that the call costs: a whole number; 0 charges nothing. Default 1. */
  readonly cost?: number | undefined
  /** @internal Rates of this call instead of the limiter's own. */
  readonly rates?: readonly Rate[] | undefined
  /** @internal The units may be refunded, so a refusal is not remembered for longer than a second. */
  readonly refundable?: boolean | undefined
}

/** What all limiters of an application share. */
export interface LimiterContext {
  readonly prefix: string
  readonly store: LimitStore
  readonly telemetry: LimitRecorder
  readonly warn: (message: string) => void
  /** Of all limiters, because those of one name share their counts. */
  readonly blocks: LocalBlocks
  /** Makes other processes discard what they remember of a key; of a `reset`, blocks as well. */
  readonly forget: (key: string, isReset: boolean) => void
  /** Hears what other processes discard, from now on. */
  readonly listen: () => void
}

/** A refusal is remembered for no longer than this if units may be refunded. */
const REFUNDABLE_MS = 1000

interface Charged {
  readonly key: string
  readonly cost: number
  /** Undefined: the oldest hits. */
  readonly at: number | undefined
  readonly rates: readonly Rate[]
  readonly store: LimitStore
}

/** What a verdict charged, for `refund(verdict)`. A property, not a WeakMap, which would cost more than the call. */
const CHARGED = Symbol('redwell.charged')

interface ChargedVerdict extends RateLimitVerdict {
  [CHARGED]?: Charged | undefined
}

/**
 * Counts calls by identity across all processes and decides which are allowed. Redis errors do not throw; see
 * `whenUnavailable`.
 *
 * @example
 * const logins = redis.rateLimiter('logins', { rate: '5/minute' })
 * const { allowed, retryAfter } = await logins.hit(email)
 */
export class RateLimiter {
  /** Name; limiters of the same name share their counts. */
  readonly name: string
  /** Options with all defaults applied. */
  readonly policy: LimiterPolicy
  readonly #context: LimiterContext
  readonly #local: MemoryLimitStore
  readonly #localRates = new WeakMap<readonly Rate[], readonly Rate[]>()
  readonly #refusals = new Refusals()
  readonly #keyHead: string
  readonly #nameHead: string
  readonly #signature: string
  readonly #told = new Set<string>()

  /** @internal Use `redis.rateLimiter`. */
  constructor(context: LimiterContext, name: string, policy: LimiterPolicy) {
    this.#context = context
    this.name = name
    this.policy = policy
    this.#keyHead = `${context.prefix}:limit:`
    this.#nameHead = `${encodePart(name)}:`
    this.#signature = signatureOf(policy.rates)
    this.#local = new MemoryLimitStore(() => performance.timeOrigin + performance.now())
  }

  /** Charges a call if every rate allows it. */
  hit(identity: Identity, options: HitOptions = {}): MaybePromise<RateLimitVerdict> {
    return this.decide(identity, options, (verdict) => verdict)
  }

  /** @internal The same for a caller that goes on with the verdict: a promise for each step costs more than the step. */
  decide<T>(identity: Identity, options: HitOptions, next: (verdict: RateLimitVerdict) => T): MaybePromise<Awaited<T>> {
    const { cost = 1, rates = this.policy.rates, refundable = false } = options
    checkCost(cost)
    const key = this.#keyOf(identity)
    // The usual case: there is no remembered refusal, so neither the rates nor the key have to be read.
    const known = this.#refusals.size === 0 ? undefined : this.#refusals.find(key, this.#signatureOf(rates), cost)
    const sentAt = performance.now()
    const refused = known ?? this.#blockedHere(key, rates)
    if (refused !== undefined) return next(this.#record(refused, sentAt)) as MaybePromise<Awaited<T>>
    return this.#run(key, this.#call('hit', cost, rates), (reply, store) => {
      const verdict: ChargedVerdict = this.#verdict(reply, rates, store)
      if (verdict.allowed) verdict[CHARGED] = { key, cost, at: reply.now, rates, store }
      else if (store === this.#context.store) this.#remember(key, rates, cost, verdict, sentAt, refundable)
      return next(this.#record(verdict, sentAt))
    }) as MaybePromise<Awaited<T>>
  }

  /** Returns what `hit` would return, without charging. */
  peek(identity: Identity, options: HitOptions = {}): MaybePromise<RateLimitVerdict> {
    const { cost = 1, rates = this.policy.rates } = options
    checkCost(cost)
    const key = this.#keyOf(identity)
    const blocked = this.#blockedHere(key, rates)
    if (blocked !== undefined) return blocked
    return this.#run(key, this.#call('peek', cost, rates), (reply, store) => this.#verdict(reply, rates, store))
  }

  /**
   * Refunds units: those of a verdict (none if its window is over), or `cost` units of an identity, the oldest first.
   */
  async refund(of: RateLimitVerdict | Identity, { cost }: { readonly cost?: number | undefined } = {}): Promise<void> {
    if (typeof of !== 'object' || of === null) {
      const units = cost ?? 1
      checkCost(units)
      return this.#giveBack({
        key: this.#keyOf(of),
        cost: units,
        rates: this.policy.rates,
        at: undefined,
        store: this.#context.store,
      })
    }
    const verdict: ChargedVerdict = of
    const charged = verdict[CHARGED]
    if (charged === undefined) return
    verdict[CHARGED] = undefined
    const units = Math.min(cost ?? charged.cost, charged.cost)
    checkCost(units)
    return this.#giveBack({ ...charged, cost: units })
  }

  async #giveBack({ key, cost, rates, at, store }: Charged): Promise<void> {
    const call: LimitCall = { ...this.#call('refund', cost, rates), at }
    this.forgetRefusals(key)
    if (store === this.#local) return void this.#local.run(key, call)
    await this.#run(key, call, () => {})
    this.#context.forget(key, false)
  }

  /** Resets the counts and the ban of an identity. Resolves to false if Redis could not be reached; rejects with UnavailableError if it refused. */
  async reset(identity: Identity): Promise<boolean> {
    const key = this.#keyOf(identity)
    this.forgetKey(key)
    return this.#change(key, true, () => this.#context.store.reset(key))
  }

  /**
   * Refuses every call of an identity for a time. Resolves to false if Redis could not be reached; rejects with
   * UnavailableError if it refused. Then this process alone refuses them: for that time whatever Redis says, or until
   * `reset`.
   */
  async block(identity: Identity, duration: Duration): Promise<boolean> {
    const forMs = durationMs(duration)
    if (forMs === undefined || forMs === 0) throw new OptionsError('duration of block', [`must be ${DURATION_RULE}`])
    const key = this.#keyOf(identity)
    const call: LimitCall = { ...this.#call('block', 0, this.policy.rates), ban: { after: 0, forMs } }
    const { blocks, store, listen } = this.#context
    this.#local.run(key, call)
    blocks.add(key, forMs)
    let isTaken = false
    try {
      return (isTaken = await this.#change(key, false, () => store.run(key, call)))
    } finally {
      if (isTaken) blocks.delete(key)
      else listen()
    }
  }

  async #change(key: string, isReset: boolean, change: () => MaybePromise<unknown>): Promise<boolean> {
    try {
      await change()
      this.#context.forget(key, isReset)
      return true
    } catch (error) {
      if (error instanceof UnavailableError) return false
      if (!isReplyError(error)) throw error
      const message = `Redis refused to change the rate limit ${this.name}: ${(error as Error).message}`
      throw new UnavailableError('error', message, { cause: error })
    } finally {
      this.forgetRefusals(key)
    }
  }

  #call(operation: LimitCall['operation'], cost: number, rates: readonly Rate[]): LimitCall {
    return { operation, algorithm: this.policy.algorithm, rates, cost, ban: this.policy.ban }
  }

  /** Asks the store; if it is unavailable, applies the policy. */
  #run<T>(key: string, call: LimitCall, then: (reply: LimitReply, store: LimitStore) => T): MaybePromise<T> {
    const instead = (error: unknown): T => {
      if (!(error instanceof UnavailableError) && !isReplyError(error)) throw error
      return then(this.#local.run(key, { ...call, rates: this.#shareOf(call.rates) }), this.#local)
    }
    try {
      const reply = this.#context.store.run(key, call)
      if (!isPromise(reply)) return then(reply, this.#context.store)
      return reply.then((known) => then(known, this.#context.store), instead)
    } catch (error) {
      return instead(error)
    }
  }

  #shareOf(rates: readonly Rate[]): readonly Rate[] {
    if (this.policy.localShare === 1) return rates
    const known = this.#localRates.get(rates)
    if (known !== undefined) return known
    const share = (units: number): number => Math.max(1, Math.floor(units * this.policy.localShare))
    const local = rates.map((rate) => ({ ...rate, limit: share(rate.limit), burst: share(rate.burst) }))
    this.#localRates.set(rates, local)
    return local
  }

  #verdict(reply: LimitReply, rates: readonly Rate[], store: LimitStore): RateLimitVerdict {
    const away = store !== this.#context.store
    const { whenUnavailable } = this.policy
    if (away && whenUnavailable !== 'local') {
      const reason = whenUnavailable === 'deny' ? 'unavailable' : undefined
      return { ...verdictOf(rates, [], reason, 'local'), retryAfter: reason === undefined ? 0 : 1 }
    }
    const used = away ? this.#shareOf(rates) : rates
    const source = away ? 'local' : 'redis'
    if (reply.allowed) return verdictOf(used, reply.outcomes, undefined, source)
    const banMs = reply.bannedUntil - reply.now
    if (banMs <= 0) return verdictOf(used, reply.outcomes, 'limited', source)
    return bannedFor(banMs / 1000, verdictOf(used, reply.outcomes, 'banned', away ? 'local' : 'blocked'))
  }

  /** With `ban`, refusals count, so they are sent to the store until the ban begins. */
  #remember(
    key: string,
    rates: readonly Rate[],
    cost: number,
    verdict: RateLimitVerdict,
    sentAt: number,
    refundable: boolean,
  ): void {
    // The embedded store answers as fast, and by a clock that a test may move.
    if (this.#context.store instanceof MemoryLimitStore) return
    if (this.policy.ban.after > 0 && verdict.reason !== 'banned') return
    const forMs = Math.min((verdict.retryAfter ?? Infinity) * 1000, refundable ? REFUNDABLE_MS : 86_400_000)
    this.#context.listen()
    this.#refusals.add(key, this.#signatureOf(rates), cost, verdict, sentAt, forMs)
  }

  /**
   * @internal Decides about a request without an identity as if Redis were unavailable, and with `local` counts its
   * address, so that a client cannot escape by leaving out what names it. Undefined: it passes.
   */
  unidentified(
    address: string | undefined,
    { cost = 1, rates = this.policy.rates }: HitOptions,
  ): RateLimitVerdict | undefined {
    const since = performance.now()
    const { whenUnavailable } = this.policy
    this.warnOnce(
      `got a request without an identity: \`per\` returned nothing, or the client's address is no IP address. Such requests are treated as if Redis were unavailable (whenUnavailable: '${whenUnavailable}').`,
    )
    if (whenUnavailable === 'allow' || (whenUnavailable === 'local' && address === undefined)) {
      this.#context.telemetry.record(this.name, 'bypass', 0, since)
      return undefined
    }
    const key = this.#keyOf(`?${address}`)
    const call = this.#call('hit', cost, this.#shareOf(rates))
    const verdict: ChargedVerdict = this.#verdict(this.#local.run(key, call), rates, this.#local)
    if (verdict.allowed) verdict[CHARGED] = { key, cost, at: undefined, rates, store: this.#local }
    return this.#record(verdict, since)
  }

  /** @internal Warns once of each cause. */
  warnOnce(problem: string): void {
    if (this.#told.has(problem)) return
    this.#told.add(problem)
    this.#context.warn(`redwell: the rate limit of ${this.name} ${problem}`)
  }

  /** @internal A key was reset, of this limiter or another. */
  forgetKey(key: string): void {
    this.forgetRefusals(key)
    this.#local.reset(key)
    this.#context.blocks.delete(key)
  }

  /** @internal What is remembered of a key may be over; undefined: of any. */
  forgetRefusals(key: string | undefined): void {
    if (key === undefined) this.#refusals.clear()
    else this.#refusals.delete(key)
  }

  /** The verdict about an identity that is blocked in this process alone. */
  #blockedHere(key: string, rates: readonly Rate[]): RateLimitVerdict | undefined {
    const { blocks, listen } = this.#context
    const leftMs = blocks.size === 0 ? 0 : blocks.leftMs(key)
    if (leftMs === 0) return undefined
    listen()
    return bannedFor(leftMs / 1000, verdictOf(rates, [], 'banned', 'blocked'))
  }

  #record(verdict: RateLimitVerdict, since: number): RateLimitVerdict {
    this.#context.telemetry.record(this.name, outcomeOf(verdict), verdict.limit, since)
    return verdict
  }

  /** Braces of names and identities are encoded, because they would form a hash tag; long ones are digested. */
  #keyOf(identity: Identity): string {
    if (!isIdentity(identity)) {
      const where = `identity of the rate limiter ${this.name}`
      throw new OptionsError(where, [`${describeValue(identity)} must be a text that is not empty, or a number`])
    }
    return this.#keyHead + bounded(this.#nameHead + encodePart(String(identity)))
  }

  #signatureOf(rates: readonly Rate[]): string {
    return rates === this.policy.rates ? this.#signature : signatureOf(rates)
  }
}

/** Anything else would be a bucket that others share. */
function isIdentity(identity: unknown): boolean {
  if (typeof identity === 'string') return identity !== ''
  return (typeof identity === 'number' && !Number.isNaN(identity)) || typeof identity === 'bigint'
}

function checkCost(cost: unknown): void {
  const problem = costProblem(cost)
  if (problem !== undefined) throw new OptionsError('rate limit', [problem])
}

function outcomeOf({ allowed, source }: RateLimitVerdict): RateLimitOutcome {
  if (source !== 'redis') return source
  return allowed ? 'allowed' : 'limited'
}

/** The rates of a call as text: a refusal says nothing about others. */
function signatureOf(rates: readonly Rate[]): string {
  return rates.map(({ limit, windowMs, burst }) => `${limit}/${windowMs}/${burst}`).join(' ')
}

/** A server that answers with an error (full, read-only, no such command) is as good as away. */
function isReplyError(error: unknown): boolean {
  return (
    error instanceof Error &&
    /^(OOM|READONLY|MISCONF|NOPERM|LOADING|CLUSTERDOWN|ERR|WRONGTYPE|NOREPLICAS|MOVED|TRYAGAIN|BUSY)/.test(
      error.message,
    )
  )
}
