/** A length of time: a number of seconds, or a number with a unit: `'500ms'`, `'30s'`, `'5m'`, `'2h'`, `'1d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

const PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/

/** 2^31 seconds: the largest lifetime an HTTP cache has to represent (RFC 9111 section 1.2.2). */
const MAX_DURATION_MS = 2 ** 31 * 1000

/** Milliseconds of a duration, or undefined where it has no meaning (negative, not finite, over 2^31 seconds, unknown unit). */
export function durationMs(value: unknown): number | undefined {
  const ms = typeof value === 'number' ? value * 1000 : parseText(value)
  return ms !== undefined && ms >= 0 && ms <= MAX_DURATION_MS ? Math.ceil(ms) : undefined
}

function parseText(value: unknown): number | undefined {
  if (typeof value !== 'string') return undefined
  const match = PATTERN.exec(value)
  return match ? Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS] : undefined
}

/** What a message says of a duration it refuses. */
export const DURATION_RULE = "a number of seconds, or '500ms', '30s', '5m', '2h', '1d'"

/** Why a value is no duration, and what may have been meant. `shown`: the value as messages show it. */
export function durationProblem(value: unknown, shown: string): string {
  const meant = typeof value === 'string' ? meantBy(value) : undefined
  return `${shown} is not a duration; write ${meant === undefined ? DURATION_RULE : `${meant}, or ${DURATION_RULE}`}`
}

const WORDS = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i

const UNITS = [
  ['ms', /^(?:ms|msecs?|millis(?:econds?)?)$/i],
  ['s', /^(?:s|secs?|seconds?)?$/i],
  ['m', /^(?:m|mins?|minutes?)$/i],
  ['h', /^(?:h|hrs?|hours?)$/i],
  ['d', /^(?:d|days?)$/i],
] as const

/** `'5m'` for `5 minutes`, `'60s'` for `60`. */
function meantBy(text: string): string | undefined {
  const [, count, word = ''] = WORDS.exec(text) ?? []
  const unit = UNITS.find(([, words]) => words.test(word))
  return count === undefined || unit === undefined ? undefined : `'${count}${unit[0]}'`
}
