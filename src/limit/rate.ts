import { DURATION_RULE, type Duration, durationMs } from '../duration.js'

/**
 * A rate in words: `'100/minute'`, `'10/15 seconds'`, `'100 per 2 minutes'`.
 * Units: s, sec, second, m, min, minute, h, hr, hour, d, day, and their plurals.
 */
export type RateText = `${number}/${string}` | `${number} per ${string}`

/** A rate in numbers. */
export interface RateObject {
  /** Units allowed in one window: a whole number from 1 to 10^9. */
  readonly limit: number
  /** Length of the window: seconds, or `'30s' | '5m' | '2h' | '1d'`; 1 ms to 45 days. */
  readonly window: Duration
  /** `token-bucket` only: units that may be used at once. Default: `limit`. */
  readonly burst?: number | undefined
  /** Name of the policy in the `RateLimit` fields. Default: from the window, such as `minute`. */
  readonly name?: string | undefined
}

/** A rate: `'100/minute'` or `{ limit: 100, window: '1m' }`. */
export type RateInput = RateText | RateObject

/** A rate as the stores take it. */
export interface Rate {
  readonly name: string
  readonly limit: number
  readonly windowMs: number
  readonly burst: number
}

const RATE_RULE = "'100/minute', '10/15 seconds', '100 per 2 minutes', or { limit, window }"

/** Counts are 32-bit in the stored state; a billion leaves room for every sum. */
const LIMIT_MAX = 1e9
/** Offsets are 32-bit milliseconds in the stored state: 49.7 days. */
const WINDOW_MAX_MS = 45 * 86_400_000
/** Rates of one call: each is a section of the stored state. */
const RATES_MAX = 8

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ...(['s', 'sec', 'secs', 'second', 'seconds'] as const).map((unit) => [unit, 1000] as const),
  ...(['m', 'min', 'mins', 'minute', 'minutes'] as const).map((unit) => [unit, 60_000] as const),
  ...(['h', 'hr', 'hrs', 'hour', 'hours'] as const).map((unit) => [unit, 3_600_000] as const),
  ...(['d', 'day', 'days'] as const).map((unit) => [unit, 86_400_000] as const),
])

const NAMES: ReadonlyMap<number, string> = new Map([
  [1000, 'second'],
  [60_000, 'minute'],
  [3_600_000, 'hour'],
  [86_400_000, 'day'],
])

const TEXT = /^\s*(\d+)\s*(?:\/|\sper\s)\s*(\d+)?\s*([a-z]+)\s*$/i

/** A policy's name is a String of RFC 9651: printable ASCII; kept to what needs no escape. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/

/** The rates of one limit, shortest window first. Adds what is wrong to `problems`. */
export function parseRates(input: unknown, problems: string[]): readonly Rate[] {
  const list: readonly unknown[] = Array.isArray(input) ? input : [input]
  if (list.length === 0 || list.length > RATES_MAX)
    problems.push(`rate: must be 1 to ${RATES_MAX} rates, not ${list.length}`)
  const rates = list.flatMap((one) => parseRate(one, problems) ?? [])
  const windows = new Set<number>()
  for (const { windowMs, name } of rates) {
    if (windows.has(windowMs)) problems.push(`rate: two rates have the same window (${name}); keep the smaller one`)
    windows.add(windowMs)
  }
  return rates.toSorted((one, other) => one.windowMs - other.windowMs)
}

function parseRate(input: unknown, problems: string[]): Rate | undefined {
  const rate = typeof input === 'string' ? fromText(input) : isObject(input) ? fromObject(input, problems) : undefined
  if (rate === undefined) {
    problems.push(`rate: ${show(input)} is not a rate; write ${RATE_RULE}`)
    return undefined
  }
  const { limit, windowMs, burst, name } = rate
  if (!isCount(limit)) problems.push(`rate: the limit of ${show(input)} must be a whole number from 1 to ${LIMIT_MAX}`)
  if (!(windowMs >= 1 && windowMs <= WINDOW_MAX_MS))
    problems.push(`rate: the window of ${show(input)} must be 1 ms to 45 days`)
  if (!isCount(burst)) problems.push(`rate: the burst of ${show(input)} must be a whole number from 1 to ${LIMIT_MAX}`)
  if (!NAME.test(name)) problems.push(`rate: the name ${show(name)} must be letters, digits and _ . -`)
  return rate
}

function fromText(text: string): Rate | undefined {
  const [, limit, count = '1', unit = ''] = TEXT.exec(text) ?? []
  const unitMs = UNITS_MS.get(unit.toLowerCase())
  return limit === undefined || unitMs === undefined ? undefined : rateOf(Number(limit), Number(count) * unitMs)
}

function fromObject(input: Partial<Record<keyof RateObject, unknown>>, problems: string[]): Rate | undefined {
  const { limit, window, burst, name, ...unknown } = input
  for (const key of Object.keys(unknown))
    problems.push(`rate: there is no \`${key}\` in a rate; it has limit, window, burst, name`)
  const windowMs = durationMs(window)
  if (windowMs === undefined) problems.push(`rate: the window ${show(window)} must be ${DURATION_RULE}`)
  if (typeof limit !== 'number') return undefined
  return rateOf(
    limit,
    windowMs ?? 1000,
    // Another value is no count.
    burst === undefined ? limit : typeof burst === 'number' ? burst : Number.NaN,
    typeof name === 'string' ? name : name === undefined ? undefined : '',
  )
}

function rateOf(limit: number, windowMs: number, burst = limit, name = nameOf(windowMs)): Rate {
  return { name, limit, windowMs, burst }
}

function nameOf(windowMs: number): string {
  const name = NAMES.get(windowMs)
  if (name !== undefined) return name
  const [unit, length] = [...NAMES].findLast(([ms]) => windowMs % ms === 0) ?? []
  return unit === undefined || length === undefined ? `${windowMs}ms` : `${windowMs / unit}-${length}s`
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= LIMIT_MAX
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function show(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : (JSON.stringify(value) ?? String(value))
}
