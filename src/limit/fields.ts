import type { RateLimitPolicy, RateLimitVerdict } from './verdict.js'

/**
 * Which fields a response carries.
 * - `draft`: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11)
 * - `legacy`: `X-RateLimit-Limit`, `-Remaining`, `-Reset` (Unix seconds) of the rate that binds first
 */
export type RateLimitHeaders = 'draft' | 'legacy' | 'both' | 'none'

export type Field = readonly [name: string, value: string]

/** Body and type of a refusal (RFC 9457). */
const PROBLEM_TYPE = 'application/problem+json'

/** A problem of the draft: its status, and its details without the policies and the closing brace. */
function problem(type: string, title: string, status: 429 | 503): { status: 429 | 503; head: string } {
  const details = { type: `https://iana.org/assignments/http-problem-types#${type}`, title, status }
  return { status, head: JSON.stringify(details).slice(0, -1) }
}

const PROBLEMS = {
  limited: problem('quota-exceeded', 'Request quota exceeded', 429),
  unidentified: problem('quota-exceeded', 'Client cannot be identified', 429),
  banned: problem('abnormal-usage-detected', 'Abnormal usage detected', 429),
  unavailable: problem('temporary-reduced-capacity', 'Rate limiter unavailable', 503),
} as const

/** Fields of a response, from all verdicts that it met: those of the application first. `now`: Unix milliseconds. */
export function rateLimitFields(
  verdicts: readonly RateLimitVerdict[],
  headers: RateLimitHeaders,
  now: number,
): Field[] {
  const [only] = verdicts
  const policies = distinct(
    verdicts.length === 1 && only ? only.policies : verdicts.flatMap((verdict) => verdict.policies),
  )
  if (headers === 'none' || policies.length === 0) return []
  const fields: Field[] = []
  if (headers !== 'legacy') {
    // Loops, not map and join: this is done for every response.
    let quotas = ''
    let states = ''
    for (const { name, limit, window, remaining, nextAfter } of policies) {
      const separator = quotas === '' ? '' : ', '
      quotas += `${separator}"${name}";q=${limit};w=${seconds(window)}`
      // A window is closed at both ends, so that its first unit is back a millisecond after its length.
      states += `${separator}"${name}";r=${remaining};t=${Math.min(seconds(nextAfter), seconds(window))}`
    }
    fields.push(['RateLimit-Policy', quotas], ['RateLimit', states])
  }
  if (headers !== 'draft') {
    const [first] = verdicts.toSorted((one, other) => one.remaining - other.remaining)
    fields.push(
      ['X-RateLimit-Limit', String(first?.limit ?? 0)],
      ['X-RateLimit-Remaining', String(first?.remaining ?? 0)],
      ['X-RateLimit-Reset', String(Math.ceil(now / 1000 + (first?.resetAfter ?? 0)))],
    )
  }
  return fields
}

/** A refusal as it is sent. */
export interface Refusal {
  readonly status: 429 | 503
  readonly fields: readonly Field[]
  readonly body: string
}

/** The response to a refused request, without its `RateLimit` fields. `before`: verdicts that the request met earlier. */
export function refusalOf(verdict: RateLimitVerdict, before: readonly RateLimitVerdict[] = []): Refusal {
  const { status, head } = PROBLEMS[verdict.reason ?? 'limited']
  const earlier = before.flatMap(({ policies }) => policies)
  // Named as in the fields of the response.
  const policies = distinct([...earlier, ...verdict.policies]).slice(earlier.length)
  const violated = policies.filter((policy) => policy.violated).map((policy) => policy.name)
  const body = violated.length === 0 ? `${head}}` : `${head},"violated-policies":${JSON.stringify(violated)}}`
  const fields: Field[] = [
    ['Content-Type', PROBLEM_TYPE],
    ['Cache-Control', 'no-store'],
  ]
  if (verdict.retryAfter !== undefined) fields.push(['Retry-After', String(Math.max(1, seconds(verdict.retryAfter)))])
  return { status, fields, body }
}

/** Names are unique in a response: a second policy of a name gets a number. */
function distinct(policies: readonly RateLimitPolicy[]): readonly RateLimitPolicy[] {
  if (policies.length === 1) return policies
  const names = new Set<string>()
  return policies.map((policy) => {
    let { name } = policy
    for (let number = 2; names.has(name); number += 1) name = `${policy.name}-${number}`
    names.add(name)
    return name === policy.name ? policy : { ...policy, name }
  })
}

/** Whole seconds, rounded up: a client that waits so long is not refused again. */
function seconds(value: number): number {
  return Math.ceil(value - 1e-9)
}
