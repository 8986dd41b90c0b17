/** Base of every error redwell throws: a stable `code`, and a message that says what to do next. */
export abstract class RedwellError extends Error {
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
    readonly where: string,
    readonly problems: readonly string[],
  ) {
    super(bulleted(`Invalid ${where}:`, problems))
  }
}

/** Connection settings or `REDIS_*` variables are wrong. Thrown at start; lists every problem, secrets masked. */
export class SettingsError extends RedwellError {
  override readonly name = 'SettingsError'
  readonly code = 'ERR_REDWELL_SETTINGS'
  constructor(readonly problems: readonly string[]) {
    super(bulleted('Invalid Redis settings:', problems))
  }
}

/** redwell was used in an order or a place that cannot work; the message names the fix. */
export class UsageError extends RedwellError {
  override readonly name = 'UsageError'
  readonly code = 'ERR_REDWELL_USAGE'
}

export type UnavailableReason = 'not-ready' | 'deadline' | 'breaker-open' | 'closed' | 'error'

/** Redis could not answer a command in time. Never reaches a request handler: the cache treats it as an outage. */
export class UnavailableError extends RedwellError {
  override readonly name = 'UnavailableError'
  readonly code = 'ERR_REDWELL_UNAVAILABLE'
  constructor(
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
