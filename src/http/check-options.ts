import { DURATION_RULE, durationMs } from '../duration.js'
import type { HttpOptions, HttpPolicy } from './options.js'
import { isVaryRule, type VaryRule } from './vary.js'

/** Options that make no sense together. A configuration error is found at start, not by a user. */
export function checkOptions(options: HttpOptions, policy: HttpPolicy, problems: string[]): void {
  if (policy.private && !policy.hasPrincipal && !policy.unsafeShared) {
    problems.push(
      'private: needs `per`, which names whose entry it is; `unsafeShared: true` shares it between all clients',
    )
  }
  if (policy.auth === 'keyed' && !policy.hasPrincipal) {
    problems.push("auth: 'keyed' needs `per`, which names the principal that Authorization stands for")
  }
  if (options.override !== undefined && options.ttl === undefined) {
    problems.push('override: needs `ttl`, the lifetime that outranks what the response says')
  }
  if (policy.ttlMs instanceof Map && options.statuses !== undefined) {
    problems.push('statuses: `ttl` names the statuses already; leave one of the two out')
  }
  if (policy.vary.includes('*'))
    problems.push("vary: '*' matches no request, so nothing could ever be served; leave `cache` out instead")
}

/** A field name (RFC 9110 section 5.1). */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** What Structured Fields allow as a Token (RFC 9651 section 3.3.4), the form a cache's name has in Cache-Status. */
const SF_TOKEN = /^[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*$/

/** Reads options one by one; what is wrong becomes a problem, and the fallback counts. */
export class OptionReader {
  readonly #options: Readonly<Record<string, unknown>>
  readonly #problems: string[]

  constructor(options: Readonly<Record<string, unknown>>, problems: string[]) {
    this.#options = options
    this.#problems = problems
  }

  flag(name: string, fallback: boolean): boolean {
    return this.#read(name, fallback, (value) => typeof value === 'boolean', 'must be true or false')
  }

  choice<const T extends string | undefined>(name: string, choices: readonly T[], fallback: T): T {
    const named = choices.filter((choice) => choice !== undefined)
    return this.#read(
      name,
      fallback,
      (value) => choices.includes(value as T),
      `must be one of ${named.map(quote).join(', ')}`,
    )
  }

  fraction(name: string, fallback: number): number {
    return this.#read(
      name,
      fallback,
      (value) => typeof value === 'number' && value >= 0 && value <= 1,
      'must be a fraction from 0 to 1',
    )
  }

  bytes(name: string, fallback: number): number {
    return this.#read(
      name,
      fallback,
      (value) => Number.isSafeInteger(value) && Number(value) >= 0,
      'must be a whole number of bytes',
    )
  }

  duration(name: string, fallbackMs: number): number {
    const value = this.#options[name]
    return value === undefined ? fallbackMs : (this.#ms(name, value) ?? fallbackMs)
  }

  /** A duration, or durations by status. Milliseconds. */
  durationOrMap(name: string): number | ReadonlyMap<number, number> | undefined {
    const value = this.#options[name]
    if (value === undefined) return undefined
    if (typeof value !== 'object' || value === null) return this.#ms(name, value)
    const entries = Object.entries(value).filter(([, ttl]) => ttl !== undefined)
    if (entries.length === 0) this.#problem(name, 'names no status')
    return new Map(
      entries.map(([status, ttl]) => [this.#status(name, status), this.#ms(`${name}.${status}`, ttl) ?? 0]),
    )
  }

  statuses(name: string, fallback: 'any' | undefined): ReadonlySet<number> | 'any' | undefined {
    const value = this.#options[name]
    if (value === undefined) return fallback
    if (value === 'any') return 'any'
    if (Array.isArray(value)) return new Set(value.map((status: unknown) => this.#status(name, status)))
    this.#problem(name, "must be a list of status codes or 'any'")
    return fallback
  }

  /** Field names, lower case. */
  names(name: string, fallback: readonly string[]): readonly string[] {
    const value = this.#options[name]
    if (value === undefined) return fallback
    return this.#fieldNames(name, Array.isArray(value) ? value : [value])
  }

  unkeyedReads(
    name: string,
    fallback: 'refuse' | 'ignore',
  ): { unkeyedReads: 'refuse' | 'ignore'; unkeyedFields: readonly string[] } {
    const value = this.#options[name]
    if (Array.isArray(value)) return { unkeyedReads: 'refuse', unkeyedFields: this.#fieldNames(name, value) }
    return { unkeyedReads: this.choice(name, ['refuse', 'ignore'], fallback), unkeyedFields: [] }
  }

  varyRules(name: string): ReadonlyMap<string, VaryRule> {
    const value = this.#options[name]
    if (value === undefined) return new Map()
    if (typeof value === 'string')
      return this.#listed(
        name,
        value.split(',').map((one) => one.trim()),
      )
    if (Array.isArray(value)) return this.#listed(name, value)
    if (typeof value === 'object' && value !== null)
      return this.#ruled(name, value as Readonly<Record<string, unknown>>)
    this.#problem(name, 'must name request fields')
    return new Map()
  }

  cacheStatus(name: string, fallback: string | undefined): string | undefined {
    const value = this.#options[name]
    if (value === undefined) return fallback
    if (value === false) return undefined
    if (typeof value === 'string' && SF_TOKEN.test(value)) return value
    this.#problem(name, `${quote(value)} is no name for a cache; give a token such as 'redwell', or false`)
    return fallback
  }

  #listed(name: string, names: readonly unknown[]): ReadonlyMap<string, VaryRule> {
    return new Map(this.#fieldNames(name, names).map((field) => [field, 'list']))
  }

  #ruled(name: string, rules: Readonly<Record<string, unknown>>): ReadonlyMap<string, VaryRule> {
    const checked = new Map<string, VaryRule>()
    for (const field of this.#fieldNames(name, Object.keys(rules))) {
      const rule = Object.entries(rules).find(([own]) => own.toLowerCase() === field)?.[1]
      if (isVaryRule(rule)) checked.set(field, rule)
      else this.#problem(`${name}.${field}`, "must be 'list', 'exact', 'language' or a function of the value")
    }
    return checked
  }

  #fieldNames(name: string, values: readonly unknown[]): readonly string[] {
    const bad = values.find((value) => typeof value !== 'string' || !TOKEN.test(value))
    if (values.length > 0 && bad !== undefined) this.#problem(name, `${quote(bad)} is not the name of a header field`)
    return [...new Set(values.filter((value) => typeof value === 'string').map((value) => value.toLowerCase()))]
  }

  #status(name: string, value: unknown): number {
    const status = Number(value)
    const final = Number.isInteger(status) && status >= 200 && status <= 599
    if (!final) this.#problem(name, `${quote(value)} is not a final HTTP status (200 to 599)`)
    else if (status === 304) this.#problem(name, '304 has no content of its own and is never stored')
    return status
  }

  #ms(name: string, value: unknown): number | undefined {
    const ms = durationMs(value)
    if (ms === undefined) this.#problem(name, `${quote(value)} is not a duration; give ${DURATION_RULE}`)
    return ms
  }

  #read<T>(name: string, fallback: T, fits: (value: unknown) => boolean, rule: string): T {
    const value = this.#options[name]
    if (value === undefined) return fallback
    if (fits(value)) return value as T
    this.#problem(name, `${quote(value)} ${rule}`)
    return fallback
  }

  #problem(name: string, text: string): void {
    this.#problems.push(`${name}: ${text}`)
  }
}

function quote(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)
}
