import { describeValue, isOptionsObject, unknownOptions } from '../errors.js'
import { durationMs, durationProblem } from '../duration.js'
import { TOKEN } from './fields.js'
import {
  cookieValue,
  type DeclaredVary,
  functionValue,
  isVaryRule,
  UNKNOWN_FIELDS,
  type VaryFunction,
  type VaryRule,
  type VaryValue,
} from './vary.js'

/** Records what is wrong with a value. */
export type Problem = (text: string) => undefined

/** Checks a value and returns it as policies hold it; undefined where it is wrong, after `problem` was called. */
export type Check<Value> = (value: unknown, problem: Problem, name: string) => Value | undefined

/**
 * One row of a table of options. `Input` is the type on a route, `Value` the type in its policy. `app` and `rfc9111` are
 * the defaults of the two presets.
 */
export class Option<Input, Value> {
  declare readonly input: Input
  readonly check: Check<Value>
  readonly app: Value
  readonly rfc9111: Value
  /** How the docs describe a default of undefined. */
  readonly unset: string

  constructor(check: Check<Value>, app: Value, rfc9111: Value = app, unset = 'none') {
    this.check = check
    this.app = app
    this.rfc9111 = rfc9111
    this.unset = unset
  }
}

export type OptionTable = Readonly<Record<string, Option<unknown, unknown>>>

/** The options of a table as a route writes them. */
export type Written<Table extends OptionTable> = {
  [Name in keyof Table]?: (Table[Name] extends Option<infer Value, unknown> ? Value : never) | undefined
}

/** The options of a table as a policy holds them. */
export type Resolved<Table extends OptionTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Option<unknown, infer Value> ? Value : never
}

/** Never throws: each problem goes into `problems`, and its option has its default. */
export function resolveOptions<Table extends OptionTable>(
  table: Table,
  options: object,
  preset: 'app' | 'rfc9111',
  problems: string[],
): Resolved<Table> {
  const values = new Map<string, unknown>(Object.entries(options))
  const resolved = Object.entries(table).map(([name, option]) => {
    const value = values.get(name)
    const problem: Problem = (text) => void problems.push(`${name}${text.startsWith('.') ? '' : ': '}${text}`)
    const known = value === undefined ? undefined : option.check(value, problem, name)
    return [name, known ?? option[preset]]
  })
  return Object.fromEntries(resolved)
}

/** A value that passes a test is resolved as it is. */
function plain<T>(fits: (value: unknown) => value is T, rule: string): Check<T> {
  return (value, problem) => (fits(value) ? value : problem(`${describeValue(value)} must be ${rule}`))
}

const isFlag = plain((value) => typeof value === 'boolean', 'true or false')

/** `unset` describes a default that depends on other options. */
export function flag<const Default extends boolean | undefined>(
  app: Default,
  rfc9111: Default = app,
  unset?: string,
): Option<boolean, boolean | Default> {
  return new Option<boolean, boolean | Default>(isFlag, app, rfc9111, unset)
}

export function oneOf<const T extends string | boolean>(choices: readonly T[]): Check<T> {
  return plain(
    (value): value is T => choices.some((one) => one === value),
    `one of ${choices.map(describeValue).join(', ')}`,
  )
}

export function choice<const T extends string | boolean, const Default extends NoInfer<T> | undefined>(
  choices: readonly T[],
  app: Default,
  rfc9111: Default | NoInfer<T> = app,
  unset?: string,
): Option<T, T | Default> {
  return new Option<T, T | Default>(oneOf(choices), app, rfc9111, unset)
}

export function fraction(app: number, rfc9111?: number): Option<number, number> {
  const check = plain(
    (value): value is number => typeof value === 'number' && value >= 0 && value <= 1,
    'a fraction from 0 to 1',
  )
  return new Option(check, app, rfc9111)
}

export function bytes(app: number): Option<number, number> {
  const check = plain(
    (value): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0,
    'a whole number of bytes',
  )
  return new Option(check, app)
}

/** Milliseconds. */
export const checkDuration: Check<number> = (value, problem) =>
  durationMs(value) ?? problem(durationProblem(value, describeValue(value)))

/** A lifetime, or lifetimes by status. Milliseconds; 0 is "until evicted", so Infinity. */
export const checkLifetime: Check<number | ReadonlyMap<number, number>> = (value, problem, name) => {
  if (typeof value !== 'object' || value === null) {
    const ms = checkDuration(value, problem, name)
    return ms === 0 ? Infinity : ms
  }
  const entries = Object.entries(value).filter(([, ttl]) => ttl !== undefined)
  if (entries.length === 0) problem("names no status; write a duration, or { 200: '5m', 404: '10s' }")
  return new Map(
    entries.map(([status, ttl]) => [
      statusOf(status, problem),
      checkDuration(ttl, (text) => problem(`.${status}: ${text}`), name) || Infinity,
    ]),
  )
}

export const checkStatuses: Check<ReadonlySet<number> | 'any'> = (value, problem) => {
  if (value === 'any') return value
  if (Array.isArray(value)) return new Set(value.map((status: unknown) => statusOf(status, problem)))
  return problem(`${describeValue(value)} must be a list of status codes or 'any'`)
}

function statusOf(value: unknown, problem: Problem): number {
  const status = Number(value)
  const final = Number.isInteger(status) && status >= 200 && status <= 599
  if (!final) problem(`${describeValue(value)} is not a final HTTP status (200 to 599)`)
  else if (status === 304) problem('304 has no content of its own and is never stored')
  return status
}

/** A Token of Structured Fields (RFC 9651 section 3.3.4), the form of a cache's name in Cache-Status. */
const SF_TOKEN = /^[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*$/

/** Field names, lower case, each once. */
export const checkFieldNames: Check<readonly string[]> = (value, problem) => {
  const names: readonly unknown[] = Array.isArray(value) ? value : [value]
  const bad = names.find((name) => typeof name !== 'string' || !TOKEN.test(name))
  if (names.length > 0 && bad !== undefined) problem(`${describeValue(bad)} is not the name of a header field`)
  return [...new Set(names.filter((name) => typeof name === 'string').map((name) => name.toLowerCase()))]
}

/** A cache's name in Cache-Status, or false. */
export const checkCacheName: Check<string | false> = (value, problem) =>
  value === false || (typeof value === 'string' && SF_TOKEN.test(value))
    ? value
    : problem(`${describeValue(value)} is not a name for a cache; write a token such as 'redwell', or false`)

/** `'a, b'`, a list of names, or an object: see `VaryBy`. */
export const checkVary: Check<DeclaredVary> = (value, problem, name) => {
  const fields: unknown = typeof value === 'string' ? value.split(',').map((field) => field.trim()) : value
  if (!Array.isArray(fields) && !isOptionsObject(fields)) {
    return problem(`${describeValue(value)} must name request fields, or be an object such as { cookie: 'lang' }`)
  }
  const rules = new Map<string, VaryRule>()
  if (Array.isArray(fields)) {
    for (const field of checkFieldNames(fields, problem, name) ?? []) rules.set(field, 'list')
    return { rules, values: [] }
  }
  const values: VaryValue[] = []
  for (const [key, part] of Object.entries(fields) as [string, unknown][]) {
    if (part === undefined) continue
    if (key === 'cookie') values.push(...cookieValues(part, problem))
    else if (isVaryRule(part)) for (const lower of checkFieldNames(key, problem, name) ?? []) rules.set(lower, part)
    else values.push(...functionValues(key, part, problem))
  }
  // The same on the GET and on the PUT of a path, in whatever order they are written.
  return { rules, values: values.sort((one, other) => (one.name < other.name ? -1 : 1)) }
}

/** `{ cookie: 'lang' }`, `{ cookie: ['lang', 'theme'] }`. */
function cookieValues(part: unknown, problem: Problem): readonly VaryValue[] {
  const names: readonly unknown[] = Array.isArray(part) ? part : [part]
  const bad = names.find((one) => typeof one !== 'string' || !TOKEN.test(one))
  if (names.length === 0 || bad !== undefined) {
    problem(`.cookie: ${describeValue(names.length === 0 ? part : bad)} is not the name of a cookie, such as 'lang'`)
  }
  return [...new Set(names.filter((one) => typeof one === 'string'))].map(cookieValue)
}

/** `{ tenant: (request) => … }`, `{ device: { value: (request) => …, from: 'user-agent' } }`. */
function functionValues(name: string, part: unknown, problem: Problem): readonly VaryValue[] {
  if (typeof part === 'function') return [functionValue(name, part as VaryFunction<never>, UNKNOWN_FIELDS)]
  const { value, from }: Readonly<Record<string, unknown>> = typeof part === 'object' ? { ...part } : {}
  const unknown = typeof value === 'function' ? unknownOptions(part as object, ['value', 'from']) : []
  for (const one of unknown) problem(`.${name}.${one}`)
  if (unknown.length > 0) return []
  if (typeof value !== 'function' || from === undefined) {
    problem(
      `.${name}: ${describeValue(part)} must be 'list', 'exact' or 'language' for a request field, a function of the request, or { value: (request) => …, from: 'field' }`,
    )
    return []
  }
  const fields = checkFieldNames(from, (text) => problem(`.${name}.from: ${text}`), name) ?? []
  return [functionValue(name, value as VaryFunction<never>, fields)]
}
