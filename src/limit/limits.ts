import { OptionsError } from '../errors.js'
import { type Logger } from '../logger.js'
import type { Connection } from '../redis/connection.js'
import type { RateLimitHeaders } from './fields.js'
import type { LimitRecorder } from '../telemetry/outcomes.js'
import { LocalBlocks } from './local-blocks.js'
import { MemoryLimitStore, RedisLimitStore } from './limit-store.js'
import type { LimitState } from './limit-state.js'
import { type LimiterPolicy, type RateLimiterOptions, resolveLimiter } from './options.js'
import { type LimiterContext, RateLimiter } from './rate-limiter.js'
import { type DeclaredLimit, limiterOptions, ROUTE_LIMIT_NAMES, type RouteLimit } from './route-limit.js'
import type { Algorithm } from './window.js'

/** What limiters take from the settings (`REDIS_RATE_LIMIT_…`). */
export interface LimitDefaults {
  readonly prefix: string
  readonly failClosed: boolean
  readonly headers: RateLimitHeaders
}

/** A limiter as it was declared. */
interface DeclaredLimiter {
  readonly scope: string
  readonly algorithm: string
  readonly rates: readonly { readonly name: string; readonly limit: number; readonly windowMs: number }[]
}

/** The rate limiters of one application. */
export class Limits {
  readonly #context: LimiterContext
  readonly #defaults: LimitDefaults
  readonly #limiters = new Map<string, RateLimiter>()
  /** Which declaration counts under a scope that no option names: two on one route never share. */
  readonly #scopes = new Map<string, DeclaredLimit<never>>()

  constructor(
    connection: Connection | undefined,
    defaults: LimitDefaults,
    telemetry: LimitRecorder,
    logger: Logger,
    now: () => number,
  ) {
    this.#defaults = defaults
    const channel = `${defaults.prefix}:limit`
    const heard = (key: string | undefined, isReset: boolean): void => this.#heard(key, isReset)
    const messages = connection === undefined ? LOCAL : new Messages(connection, channel, logger, heard)
    this.#context = {
      prefix: defaults.prefix,
      store: connection === undefined ? new MemoryLimitStore(now) : new RedisLimitStore(connection),
      telemetry,
      warn: (message) => logger.warn(message),
      blocks: new LocalBlocks(),
      forget: (key, isReset) => messages.forget(key, isReset),
      listen: () => messages.listen(),
    }
  }

  /** All limiters that were declared so far, for operators. */
  limiters(): readonly DeclaredLimiter[] {
    return [...this.#limiters.values()].map(({ name, policy: { algorithm, rates } }) => ({
      ...{ scope: name, algorithm },
      rates: rates.map((rate) => ({ name: rate.name, limit: rate.limit, windowMs: rate.windowMs })),
    }))
  }

  /** What this process counts itself: with the embedded store, everything. */
  local(): ReadonlyMap<string, LimitState> {
    const { store } = this.#context
    return store instanceof MemoryLimitStore ? store.states() : new Map<string, LimitState>()
  }

  /** Forgets what is counted under a key, and a ban, in all processes. Resolves to false if there was nothing. */
  async resetKey(key: string): Promise<boolean> {
    const wasCounted = await this.#context.store.reset(key)
    this.#heard(key, true)
    this.#context.forget(key, true)
    return wasCounted
  }

  #heard(key: string | undefined, isReset: boolean): void {
    for (const limiter of this.#limiters.values()) {
      if (isReset && key !== undefined) limiter.forgetKey(key)
      else limiter.forgetRefusals(key)
    }
  }

  /** Throws OptionsError with every problem. The same name and options are the same limiter. */
  limiter(name: string, options: RateLimiterOptions): RateLimiter {
    const where = `options of rateLimiter('${name}')`
    return this.#limiter(where, name, resolveLimiter(where, options, this.#defaults.failClosed))
  }

  /** The limit of a route. `route`: method and template, the default scope. */
  route<Req>(declared: DeclaredLimit<Req>, route: string): RouteLimit<Req> {
    return this.#bind(declared, declared.options.scope ?? this.#scopeOf(declared, route), '')
  }

  /** The limit of the whole application, whose policies are named apart from those of routes. */
  application<Req>(declared: DeclaredLimit<Req>): RouteLimit<Req> {
    return this.#bind(declared, declared.options.scope ?? 'global', 'global-')
  }

  #bind<Req>(declared: DeclaredLimit<Req>, scope: string, namePrefix: string): RouteLimit<Req> {
    const policy = resolveLimiter(
      declared.where,
      limiterOptions(declared.options),
      this.#defaults.failClosed,
      ROUTE_LIMIT_NAMES,
    )
    return declared.bind(this.#limiter(declared.where, scope, policy), { headers: this.#defaults.headers, namePrefix })
  }

  #limiter(where: string, name: string, policy: LimiterPolicy): RateLimiter {
    const id = JSON.stringify([name, policy])
    const known = this.#limiters.get(id)
    if (known !== undefined) return known
    this.#expectAlgorithm(where, name, policy.algorithm)
    const limiter = new RateLimiter(this.#context, name, policy)
    this.#limiters.set(id, limiter)
    return limiter
  }

  /** Counts of one algorithm say nothing to another, which would begin anew with each change. */
  #expectAlgorithm(where: string, name: string, algorithm: Algorithm): void {
    const other = [...this.#limiters.values()].find(
      ({ name: own, policy }) => own === name && policy.algorithm !== algorithm,
    )
    if (other === undefined) return
    throw new OptionsError(where, [
      `algorithm: what is counted as '${name}' is counted by '${other.policy.algorithm}' elsewhere; use the same one, or another scope`,
    ])
  }

  #scopeOf(declared: DeclaredLimit<never>, route: string): string {
    for (let number = 1; ; number += 1) {
      const scope = number === 1 ? route : `${route}#${number}`
      const holder = this.#scopes.get(scope)
      if (holder === undefined) this.#scopes.set(scope, declared)
      if (holder === undefined || holder === declared) return scope
    }
  }
}

/** Pause between attempts to hear other processes. */
const LISTEN_PAUSE_MS = 1000

/** Begins a message about a reset, which ends blocks as well; names of keys have no space. */
const RESET = 'reset '

/** Channel by which processes end what others remember. Opened by the first refusal that is remembered. */
class Messages {
  readonly #connection: Connection
  readonly #channel: string
  readonly #logger: Logger
  /** `key` undefined: messages may have been lost. */
  readonly #heard: (key: string | undefined, isReset: boolean) => void
  #isListening = false
  #hasFailed = false
  #triesAt = -Infinity

  constructor(
    connection: Connection,
    channel: string,
    logger: Logger,
    heard: (key: string | undefined, isReset: boolean) => void,
  ) {
    this.#connection = connection
    this.#channel = channel
    this.#logger = logger
    this.#heard = heard
  }

  forget(key: string, isReset: boolean): void {
    // A lost message only means that other processes refuse for the rest of that time.
    const message = isReset ? RESET + key : key
    this.#connection.execute(['PUBLISH', this.#channel, message], undefined).catch(() => {})
  }

  listen(): void {
    if (this.#isListening || performance.now() < this.#triesAt) return
    this.#isListening = true
    this.#connection
      .subscribe(
        this.#channel,
        (bytes) => {
          const message = bytes.toString()
          const isReset = message.startsWith(RESET)
          this.#heard(isReset ? message.slice(RESET.length) : message, isReset)
        },
        () => this.#heard(undefined, false),
      )
      .catch((error: unknown) => {
        this.#isListening = false
        this.#triesAt = performance.now() + LISTEN_PAUSE_MS
        if (this.#hasFailed) return
        this.#hasFailed = true
        this.#logger.warn(`redwell: resets of rate limits by other processes take effect late: ${String(error)}`)
      })
  }
}

const LOCAL = { forget: () => {}, listen: () => {} }
