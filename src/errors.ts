/** Base of every error redwell throws: a stable `code`, and a message that says what to do next. */
export abstract class RedwellError extends Error {
  /** Stable, for programs. */
  abstract readonly code: `ERR_REDWELL_${string}`
}

function bulleted(heading: string, problems: readonly string[]): string {
  return `${heading}\n${problems.map((problem) => `  - ${problem}`).join('\n')}`
}

/** Options of a route, a namespace or a call are wrong. Thrown where they are declared; lists every problem. */
export class OptionsError extends RedwellError {
  override readonly name = 'OptionsError'
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

/** Connection settings or `REDIS_*` variables are wrong. Thrown at start; lists every problem, secrets masked. */
export class SettingsError extends RedwellError {
  override readonly name = 'SettingsError'
  readonly code = 'ERR_REDWELL_SETTINGS'
  constructor(
    /** One text for each problem. */
    readonly problems: readonly string[],
  ) {
    super(bulleted('Invalid Redis settings:', problems))
  }
}

/** redwell was used in an order or a place that cannot work; the message names the fix. */
export class UsageError extends RedwellError {
  override readonly name = 'UsageError'
  readonly code = 'ERR_REDWELL_USAGE'
}

/**
 * `not-ready`: no connection. `deadline`: not answered in time. `breaker-open`: known not to answer. `closed`: the
 * handle was closed. `error`: Redis refused the command, see `cause`.
 */
export type UnavailableReason = 'not-ready' | 'deadline' | 'breaker-open' | 'closed' | 'error'

/** Redis could not answer a command in time. Never reaches a request handler: the cache treats it as an outage. */
export class UnavailableError extends RedwellError {
  override readonly name = 'UnavailableError'
  readonly code = 'ERR_REDWELL_UNAVAILABLE'
  constructor(
    /** Why Redis could not answer. */
    readonly reason: UnavailableReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** A value could not be encoded or failed its schema. Names the namespace and the key, never the value. */
export class ValueError extends RedwellError {
  override readonly name = 'ValueError'
  readonly code = 'ERR_REDWELL_VALUE'
}

/** A loader took longer than its `timeout`, and there was no stale value to give instead. */
export class TimeoutError extends RedwellError {
  override readonly name = 'TimeoutError'
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
    const near = known.find((one) => isNear(name, one))
    const advice = near === undefined ? `the options are ${known.join(', ')}` : `did you mean \`${near}\`?`
    return [`${name}: there is no such option${given}; ${advice}`]
  })
}

/** A value as messages show it: short, text in quotes. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string')
    return `'${value.length > VALUE_SHOWN_MAX ? `${value.slice(0, VALUE_SHOWN_MAX)}…` : value}'`
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}

const VALUE_SHOWN_MAX = 80

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
 * A request was refused by a rate limit with `onLimited: 'throw'`. Made without a stack trace: a flood of refusals must
 * be cheap. `statusCode`, `status` and `headers` are what the error handling of Express, Fastify and Hono look at.
 */
export class RateLimitError extends RedwellError {
  override readonly name = 'RateLimitError'
  readonly code = 'ERR_REDWELL_RATE_LIMIT'
  /** Status of the response: 429, or 503 where Redis could not answer. */
  readonly status: number

  constructor(
    /** What the limiter answered. */
    readonly verdict: { readonly retryAfter: number | undefined },
    /** The same as `status`. */
    readonly statusCode: number,
    /** `Retry-After` and the fields of the limit. */
    readonly headers: Readonly<Record<string, string>>,
  ) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(
      verdict.retryAfter === undefined
        ? 'Too many requests.'
        : `Too many requests. Try again in ${Math.ceil(verdict.retryAfter)} s.`,
    )
    Error.stackTraceLimit = stackTraceLimit
    this.status = statusCode
  }
}

/**
 * - `ended`: the session was ended by another request
 * - `moved`: it has another id or belongs to another principal since this request has read it
 * - `revoked`: all sessions of the subject were ended while it signed in
 * - `unavailable`: Redis did not answer
 */
export type SessionProblem = 'ended' | 'moved' | 'revoked' | 'unavailable'

const SESSION_PROBLEMS: Readonly<Record<SessionProblem, string>> = {
  ended: 'The session was ended by another request, so the change was not saved. Load it again.',
  moved: 'The session was signed in, out or renewed by another request, so the change was not saved. Load it again.',
  revoked: 'All sessions of this subject were ended during the sign-in. Sign in again.',
  unavailable: 'The session could not be read or saved, because Redis did not answer.',
}

/**
 * What became of a session made a change of it impossible. `statusCode` and `status`, 409 or 503, are what the error
 * handling of frameworks looks at. Never has the id of a session.
 */
export class SessionError extends RedwellError {
  override readonly name = 'SessionError'
  readonly code = 'ERR_REDWELL_SESSION'
  readonly statusCode: 409 | 503
  readonly status: 409 | 503

  constructor(
    readonly reason: SessionProblem,
    options?: ErrorOptions,
  ) {
    super(SESSION_PROBLEMS[reason], options)
    this.statusCode = reason === 'unavailable' ? 503 : 409
    this.status = this.statusCode
  }
}
