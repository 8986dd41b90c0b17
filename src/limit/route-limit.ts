import { describeValue, isOptionsObject, OptionsError } from '../errors.js'
import type { MaybePromise } from '../maybe-promise.js'
import type { RequestFunction } from '../request-function.js'
import { valueAt } from '../value-at.js'
import { rateLimitFields, type Field, type RateLimitHeaders, type Refusal, refusalOf } from './fields.js'
import { addressIdentity, IPV6_SUBNET } from './identity.js'
import { costProblem, type RateLimiterOptions, resolveLimiter } from './options.js'
import { parseRates, type Rate, type RateInput } from './rate.js'
import type { HitOptions, Identity, RateLimiter } from './rate-limiter.js'
import type { RateLimitVerdict } from './verdict.js'

/** The response, as `countWhen` receives it. */
export interface LimitedResponse {
  /** Status of the response. */
  readonly status: number
}

/** Options of `rateLimit` on a route, or of the whole application. */
export interface RateLimitOptions<Req> extends Omit<RateLimiterOptions, 'rate'> {
  /** One rate, several that are decided together, or a function of the request (plans); `undefined` does not limit it. */
  rate:
    | RateInput
    | readonly RateInput[]
    | RequestFunction<Req, MaybePromise<RateInput | readonly RateInput[] | undefined>>
  /**
   * Who is counted. Default: the client's address as the framework reports it (its own trusted proxies apply), IPv6 by
   * `ipv6Subnet`. `undefined` is treated as if Redis were unavailable (`whenUnavailable`; with `local` this process counts
   * the client's address), never as one shared bucket.
   */
  per?: RequestFunction<Req, MaybePromise<Identity | undefined>> | undefined
  /** Bits of an IPv6 address that are one client: 1 to 128. Default 64. */
  ipv6Subnet?: number | undefined
  /** What is counted together: routes that name the same scope share a budget. Default: method and template of the route. */
  scope?: string | undefined
  /** Units of a request: a whole number, or a function of the request. Default 1. */
  cost?: number | RequestFunction<Req, MaybePromise<number>> | undefined
  /**
   * Whether a response counts, such as `({ status }) => status === 401`: units are reserved before the handler and
   * given back where it does not. So it also limits the attempts that are under way.
   */
  countWhen?: ((response: LimitedResponse) => MaybePromise<boolean>) | undefined
  /** Requests that are not limited at all. CORS preflights and background refreshes never are. */
  skip?: RequestFunction<Req, MaybePromise<boolean>> | undefined
  /** Fields of every response. Default `draft`. */
  headers?: RateLimitHeaders | undefined
  /**
   * Instead of the refusal of redwell: a function that makes the response (status 429 and the fields are set already),
   * or `throw` for a RateLimitError in the framework's own error handling.
   */
  onLimited?: 'throw' | { of(verdict: RateLimitVerdict, request: Req): unknown }['of'] | undefined
  /**
   * `request`: before the body is read. `handler`: after authentication and validation, before the cache. Default:
   * `request`, or `handler` where `per`, `rate`, `cost` or `skip` is a function.
   */
  at?: 'request' | 'handler' | undefined
}

/** Rates alone, or options. */
export type RateLimitInput<Req> = RateInput | readonly RateInput[] | RateLimitOptions<Req>

/** A request as an adapter presents it. */
export interface LimitedRequest<Req> {
  readonly native: Req
  /** Client address as the framework reports it. */
  readonly address: string | undefined
  /** It is not limited whatever the options say. */
  readonly isExempt: boolean
}

/** What a limit decided about one request. */
export interface Admission {
  readonly verdict: RateLimitVerdict
  readonly headers: RateLimitHeaders
  /** Undefined: the request passes. */
  readonly refusal: Refusal | undefined
  /** Fields of a response that nothing else decided about, once they were made. */
  fields: readonly Field[] | undefined
  /** Has to be called with the response, where it may give units back. */
  readonly settle: ((response: LimitedResponse) => void) | undefined
}

const NAMES = ['per', 'ipv6Subnet', 'scope', 'cost', 'countWhen', 'skip', 'headers', 'onLimited', 'at']
const HEADERS: readonly unknown[] = ['draft', 'legacy', 'both', 'none'] satisfies RateLimitHeaders[]

/** A limit of a route, checked where it is declared. */
export class DeclaredLimit<Req> {
  readonly options: RateLimitOptions<Req>
  readonly where: string
  readonly #bound = new WeakMap<object, Map<string, RouteLimit<Req>>>()

  constructor(where: string, input: RateLimitInput<Req>) {
    this.where = where
    const misplaced = inputProblem(input)
    if (misplaced !== undefined) throw new OptionsError(where, [misplaced])
    this.options = isOptions(input) ? input : { rate: input }
    const problems = optionProblems(this.options)
    if (problems.length > 0) throw new OptionsError(where, problems)
    const { rates } = resolveLimiter(where, limiterOptions(this.options), false, NAMES)
    const { cost } = this.options
    const smallest = Math.min(...rates.map((rate) => Math.min(rate.limit, rate.burst)))
    if (typeof cost === 'number' && cost > smallest) {
      throw new OptionsError(where, [`cost: ${cost} is above the limit ${smallest}, so no request would be allowed`])
    }
  }

  /** Whether the limit can be decided before the request's body is read. */
  get at(): 'request' | 'handler' {
    const { at, per, rate, cost, skip } = this.options
    return at ?? ([per, rate, cost, skip].some((option) => typeof option === 'function') ? 'handler' : 'request')
  }

  /** The limit on a route of an application, made at its first request. */
  on(application: object, route: string, make: () => RouteLimit<Req>): RouteLimit<Req> {
    const limits = valueAt(this.#bound, application, () => new Map<string, RouteLimit<Req>>())
    return valueAt(limits, route, make)
  }

  /** Binds it to a limiter of the application. */
  bind(limiter: RateLimiter, defaults: RouteLimitDefaults): RouteLimit<Req> {
    return new RouteLimit(limiter, this.options, defaults)
  }
}

export interface RouteLimitDefaults {
  readonly headers: RateLimitHeaders
  /** Part before every policy's name: `global-` of the limit of the application. */
  readonly namePrefix: string
}

/** Decides about the requests of one route. */
export class RouteLimit<Req> {
  readonly #limiter: RateLimiter
  readonly #options: RateLimitOptions<Req>
  readonly #headers: RateLimitHeaders
  readonly #prefix: string
  readonly #rates: readonly Rate[]
  readonly #refundable: boolean
  /** Of every request, where no function of the options has a say; undefined where one has. */
  readonly #hit: HitOptions | undefined
  /** The last refusal from memory: in a flood the next one is the same. */
  #repeated: Admission | undefined

  constructor(limiter: RateLimiter, options: RateLimitOptions<Req>, { headers, namePrefix }: RouteLimitDefaults) {
    this.#limiter = limiter
    this.#options = options
    this.#headers = options.headers ?? headers
    this.#prefix = namePrefix
    this.#rates = this.#named(limiter.policy.rates)
    this.#refundable = options.countWhen !== undefined
    const { skip, per, rate, cost = 1 } = options
    const isPlain = skip === undefined && per === undefined && typeof rate !== 'function' && typeof cost === 'number'
    this.#hit = isPlain ? { rates: this.#rates, cost, refundable: this.#refundable } : undefined
  }

  /**
   * Calls `next` with the admission; undefined: the request is not limited. Fails only with what `next` and the
   * options' own functions throw.
   */
  check<T>(
    request: LimitedRequest<Req>,
    next: (admission: Admission) => MaybePromise<T>,
  ): MaybePromise<Awaited<T> | undefined> {
    if (request.isExempt) return undefined
    if (this.#hit === undefined) return this.#checkLater(request, next)
    const address = this.#address(request)
    return this.#decide(address, address, this.#hit, next)
  }

  async #checkLater<T>(
    { native, ...request }: LimitedRequest<Req>,
    next: (admission: Admission) => MaybePromise<T>,
  ): Promise<Awaited<T> | undefined> {
    const { skip, per, rate, cost = 1 } = this.#options
    if ((await skip?.(native)) === true) return undefined
    const given = typeof rate === 'function' ? await rate(native) : undefined
    if (typeof rate === 'function' && given === undefined) return undefined
    const rates = given === undefined ? this.#rates : this.#named(this.#parse(given))
    const address = this.#address({ native, ...request })
    const identity = per === undefined ? address : await per(native)
    const units = typeof cost === 'function' ? await cost(native) : cost
    const problem = costProblem(units)
    if (problem !== undefined)
      throw new OptionsError(`result of a function of rateLimit (${this.#limiter.name})`, [problem])
    return this.#decide(identity, address, { rates, cost: units, refundable: this.#refundable }, next)
  }

  #decide<T>(
    identity: Identity | undefined,
    address: string | undefined,
    hit: HitOptions,
    next: (admission: Admission) => MaybePromise<T>,
  ): MaybePromise<Awaited<T> | undefined> {
    if (identity === undefined || identity === null || identity === '' || Number.isNaN(identity)) {
      const verdict = this.#limiter.unidentified(address, hit)
      return verdict && (next(this.#admit(verdict)) as MaybePromise<Awaited<T>>)
    }
    return this.#limiter.decide(identity, hit, (verdict) => next(this.#admit(verdict)))
  }

  #admit(verdict: RateLimitVerdict): Admission {
    if (verdict === this.#repeated?.verdict) return this.#repeated
    const { countWhen } = this.#options
    const admission: Admission = {
      verdict,
      headers: this.#headers,
      refusal: verdict.allowed ? undefined : refusalOf(verdict),
      fields: undefined,
      settle:
        countWhen === undefined || !verdict.allowed
          ? undefined
          : (response) => void this.#settle(async () => countWhen(response), verdict),
    }
    if (verdict.source === 'blocked') this.#repeated = admission
    return admission
  }

  async #settle(counts: () => Promise<boolean>, verdict: RateLimitVerdict): Promise<void> {
    // The response has been sent. If `countWhen` fails, it counts.
    const isCounted = await counts().catch((error: unknown) => {
      this.#limiter.warnOnce(`counts every response, because \`countWhen\` failed: ${String(error)}`)
      return true
    })
    if (!isCounted) await this.#limiter.refund(verdict)
  }

  #address({ address }: LimitedRequest<Req>): string | undefined {
    return addressIdentity(address, this.#options.ipv6Subnet ?? IPV6_SUBNET)
  }

  #parse(input: unknown): readonly Rate[] {
    const problems: string[] = []
    const rates = parseRates(input, problems)
    if (problems.length > 0) throw new OptionsError(`rate of a request (${this.#limiter.name})`, problems)
    return rates
  }

  #named(rates: readonly Rate[]): readonly Rate[] {
    return this.#prefix === '' ? rates : rates.map((rate) => ({ ...rate, name: this.#prefix + rate.name }))
  }
}

/** The fields of a response, from everything that decided about its request: limits of the application first. */
export function admissionFields(admissions: readonly Admission[], now: number): readonly Field[] {
  const [only] = admissions
  if (admissions.length === 1 && only) return (only.fields ??= rateLimitFields([only.verdict], only.headers, now))
  const shown = admissions.filter(({ headers }) => headers !== 'none')
  const styles = new Set(shown.map(({ headers }) => headers))
  const style = styles.size === 1 ? ([...styles][0] ?? 'none') : styles.size === 0 ? 'none' : 'both'
  return rateLimitFields(
    shown.map(({ verdict }) => verdict),
    style,
    now,
  )
}

/** The options of the limiter behind a route. Rates that are a function of the request come with each hit. */
export function limiterOptions<Req>({ rate, ...options }: RateLimitOptions<Req>): RateLimiterOptions {
  return { ...options, rate: typeof rate === 'function' ? { limit: 1, window: 1 } : rate }
}

export const ROUTE_LIMIT_NAMES = NAMES

/** `app.get('/a', rateLimit, handler)` hands a request to the function that makes the middleware. */
function inputProblem(input: unknown): string | undefined {
  if (typeof input === 'function') return "a function is not a rate; write { rate: (request) => '100/minute' }"
  if (isOptionsObject(input) && !('rate' in input) && ['headers', 'req', 'raw'].some((name) => name in input))
    return "a request is not a rate: call the function where the route is declared, such as rateLimit('100/minute')"
  return input instanceof Promise ? 'a promise is not a rate; await it first' : undefined
}

function isOptions<Req>(input: RateLimitInput<Req>): input is RateLimitOptions<Req> {
  return typeof input === 'object' && input !== null && 'rate' in input
}

function optionProblems<Req>(options: RateLimitOptions<Req>): string[] {
  const problems: string[] = []
  for (const name of ['per', 'countWhen', 'skip'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function') problems.push(`${name}: must be a function`)
  }
  const { ipv6Subnet, scope, cost, headers, onLimited, at } = options
  if (ipv6Subnet !== undefined && !(Number.isInteger(ipv6Subnet) && ipv6Subnet >= 1 && ipv6Subnet <= 128)) {
    problems.push('ipv6Subnet: must be a whole number of bits from 1 to 128')
  }
  if (scope !== undefined && (typeof scope !== 'string' || scope === ''))
    problems.push('scope: must be a non-empty string')
  const problem = cost === undefined || typeof cost === 'function' ? undefined : costProblem(cost)
  if (problem !== undefined) problems.push(problem)
  if (headers !== undefined && !HEADERS.includes(headers))
    problems.push(`headers: ${describeValue(headers)} is not one of ${HEADERS.join(', ')}`)
  if (onLimited !== undefined && onLimited !== 'throw' && typeof onLimited !== 'function') {
    problems.push("onLimited: must be 'throw' or a function of the verdict and the request")
  }
  if (at !== undefined && at !== 'request' && at !== 'handler') problems.push("at: must be 'request' or 'handler'")
  return problems
}
