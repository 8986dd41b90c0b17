/** Base class of all errors that redwell throws. The message says what to do next. */
export abstract class RedwellError extends Error {
  /** Stable code, for programs. */
  abstract readonly code: `ERR_REDWELL_${string}`
}

/**
 * An error that asks for a status. The error handling of Express, Fastify, Koa and NestJS uses `statusCode`, `status` and
 * `expose`, and that of Hono `getResponse()`.
 */
export abstract class StatusError<Status extends number = number> extends RedwellError {
  /** Status of the response if the application does not handle the error. */
  readonly statusCode: Status
  /** The same as `statusCode`. */
  readonly status: Status

  constructor(
    message: string,
    status: Status,
    /** Whether clients may see the message. */
    readonly expose: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.statusCode = status
    this.status = status
  }

  /** The response that Hono sends if `app.onError` does not. */
  getResponse(): Response {
    const { status, headers } = this as { readonly status: number; readonly headers?: Readonly<Record<string, string>> }
    return new Response(this.expose ? this.message : 'Service Unavailable', { status, headers: { ...headers } })
  }
}

function bulleted(heading: string, problems: readonly string[]): string {
  return `${heading}\n${problems.map((problem) => `  - ${problem}`).join('\n')}`
}

/** What went wrong, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** What was thrown as an error, for those who accept nothing else. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error })
}

/** Options of a route, a namespace or a call are invalid. Thrown where they are declared; lists every problem. */
export class OptionsError extends RedwellError {
  /** Name of the class. */
  override readonly name = 'OptionsError'
  /** Stable code. */
  readonly code = 'ERR_REDWELL_OPTIONS'
  constructor(
    /** What the options belong to, such as `config.cache of GET /products/:id`. */
    readonly where: string,
    /** One text for each problem. */
    readonly problems: readonly string[],
  ) {
    super(bulleted(`Invalid ${where}:`, problems))
  }
}

/** Connection settings or `REDIS_*` variables are invalid. Thrown at start; lists every problem, with secrets masked. */
export class SettingsError extends RedwellError {
  /** Name of the class. */
  override readonly name = 'SettingsError'
  /** Stable code. */
  readonly code = 'ERR_REDWELL_SETTINGS'
  constructor(
    /** One text for each problem. */
    readonly problems: readonly string[],
  ) {
    super(bulleted('Invalid Redis settings:', problems))
  }
}

/** redwell was used in the wrong order or place. The message names the fix. */
export class UsageError extends RedwellError {
  /** Name of the class. */
  override readonly name = 'UsageError'
  /** Stable code. */
  readonly code = 'ERR_REDWELL_USAGE'
}

/**
 * - `not-ready`: there is no connection
 * - `deadline`: Redis did not answer in time
 * - `breaker-open`: the circuit breaker is open, so the command was not sent
 * - `closed`: the handle was closed
 * - `error`: Redis rejected the command; see `cause`
 */
export type UnavailableReason = 'not-ready' | 'deadline' | 'breaker-open' | 'closed' | 'error'

/**
 * Redis did not answer a command in time. The cache treats it as an outage, so request handlers do not see it; what reaches
 * the framework, such as that of `sessions.list`, is a 503.
 */
export class UnavailableError extends StatusError<503> {
  /** Name of the class. */
  override readonly name = 'UnavailableError'
  /** Stable code. */
  readonly code = 'ERR_REDWELL_UNAVAILABLE'
  constructor(
    /** Why there was no answer. */
    readonly reason: UnavailableReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, 503, false, options)
  }
}

/** For `catch`: undefined where Redis did not answer; any other error goes on. */
export function noneIfUnavailable(error: unknown): undefined {
  if (!(error instanceof UnavailableError)) throw error
}

/** A value could not be encoded or failed its schema. The message names the namespace and key, not the value. */
export class ValueError extends RedwellError {
  /** Name of the class. */
  override readonly name = 'ValueError'
  /** Stable code. */
  readonly code = 'ERR_REDWELL_VALUE'
}

/** A loader took longer than its `timeout`, and there was no stale value to return instead. */
export class TimeoutError extends RedwellError {
  /** Name of the class. */
  override readonly name = 'TimeoutError'
  /** Stable code. */
  readonly code = 'ERR_REDWELL_TIMEOUT'
}

/**
 * One problem for each name in `options` that is not an option. `shown: false` leaves the values out, which may be
 * secrets.
 */
export function unknownOptions(options: object, known: readonly string[], shown = true): string[] {
  return Object.entries(options).flatMap(([name, value]) => {
    if (known.includes(name)) return []
    const given = shown ? ` (given: ${describeValue(value)})` : ''
    const near = nearestName(name, known)
    const advice = near === undefined ? `the options are ${known.join(', ')}` : `did you mean \`${near}\`?`
    return [`${name}: there is no such option${given}; ${advice}`]
  })
}

/** Whether a value can be an object of options. A promise is one that was not awaited. */
export function isOptionsObject(value: unknown): value is object {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    typeof Reflect.get(value, 'then') !== 'function'
  )
}

/** The name that was meant, if one of them is near enough. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  return known.find((one) => isNear(name, one))
}

/** A value as messages show it: short, text in quotes. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string')
    return `'${value.length > VALUE_SHOWN_MAX ? `${value.slice(0, VALUE_SHOWN_MAX)}…` : value}'`
  if (Array.isArray(value)) return 'a list'
  if (isOptionsObject(value)) return 'an object'
  if (typeof value === 'object' && value !== null) return 'a promise'
  return typeof value === 'function' ? 'a function' : String(value)
}

const VALUE_SHOWN_MAX = 80

/** A warning: the option is written, and its value is missing. */
export const UNDEFINED_TTL =
  '`ttl` is undefined, perhaps because a variable is not set, and counts as left out. Give it a value; 0 keeps entries until they are evicted.'

/** Equal but for case and separators, or one letter more, less or other, or two letters swapped. */
function isNear(name: string, known: string): boolean {
  const [a, b] = [plain(name), plain(known)]
  if (a === b) return true
  let head = 0
  while (head < a.length && a[head] === b[head]) head += 1
  const tails: readonly (readonly [string, string])[] = [
    [a.slice(head + 1), b.slice(head)],
    [a.slice(head), b.slice(head + 1)],
    [a.slice(head + 1), b.slice(head + 1)],
  ]
  const swapped = a[head] === b[head + 1] && a[head + 1] === b[head] && a.slice(head + 2) === b.slice(head + 2)
  return swapped || tails.some(([one, other]) => one === other)
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, '')
}

/**
 * A rate limit with `onLimited: 'throw'` rejected a request. It has no stack trace, so that many rejections stay cheap. The
 * status is 429, or 503 if Redis did not answer.
 */
export class RateLimitError extends StatusError {
  /** Name of the class. */
  override readonly name = 'RateLimitError'
  /** Stable code. */
  readonly code = 'ERR_REDWELL_RATE_LIMIT'

  constructor(
    /** Decision of the limiter. */
    readonly verdict: {
      /** Seconds until the call may be repeated. */
      readonly retryAfter: number | undefined
    },
    status: number,
    /** `Retry-After` and the rate limit header fields. */
    readonly headers: Readonly<Record<string, string>>,
  ) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(
      verdict.retryAfter === undefined
        ? 'Too many requests.'
        : `Too many requests. Try again in ${Math.ceil(verdict.retryAfter)} s.`,
      status,
      true,
    )
    Error.stackTraceLimit = stackTraceLimit
  }
}

/**
 * - `ended`: the session was ended, revoked, or has expired
 * - `moved`: the session has a new id or another principal since this request read it
 * - `revoked`: all sessions of the subject were ended during the sign-in
 * - `unavailable`: Redis did not answer, or refused the command
 */
export type SessionProblem = 'ended' | 'moved' | 'revoked' | 'unavailable'

const SESSION_PROBLEMS: Readonly<Record<Exclude<SessionProblem, 'unavailable'>, string>> = {
  ended: 'The session has ended meanwhile, so the change was not saved. Load the session again.',
  moved:
    'Another request signed the session in or out or renewed its id, so the change was not saved. Load the session again.',
  revoked: 'All sessions of this subject were ended during the sign-in. Sign in again.',
}

/**
 * A session could not be read or changed. The status is 409, or 503 if Redis did not answer. The error does not contain the
 * id of the session.
 */
export class SessionError extends StatusError<409 | 503> {
  /** Name of the class. */
  override readonly name = 'SessionError'
  /** Stable code. */
  readonly code = 'ERR_REDWELL_SESSION'

  constructor(
    /** Why the session could not be changed. */
    readonly reason: SessionProblem,
    /** `because`: what kept Redis from it. */
    { because = 'Redis did not answer', ...options }: ErrorOptions & { readonly because?: string | undefined } = {},
  ) {
    const unavailable = `The session could not be read or saved because ${because}.`
    super(
      reason === 'unavailable' ? unavailable : SESSION_PROBLEMS[reason],
      reason === 'unavailable' ? 503 : 409,
      true,
      options,
    )
  }
}

/** What a function of the options has returned that must answer at once. Throws UsageError for a promise. */
export function atOnce<T>(value: T, name: string): T {
  const { then } = (value ?? {}) as Partial<PromiseLike<unknown>>
  if (typeof then !== 'function') return value
  // Its rejection would end the process.
  Reflect.apply(then, value, [undefined, () => {}])
  throw new UsageError(`\`${name}\` must not be asynchronous: it returned a promise.`)
}
