import { isDeepStrictEqual } from 'node:util'
import type { Answer } from './client.js'

export interface Expectation {
  status: number
  /** Value of X-Redis-Cache; `none`: there is no such field. */
  cache: 'HIT' | 'MISS' | 'BYPASS' | 'none'
  /** The same representation as this answer: equal ETag, and equal bytes where there is a body. */
  sameAs?: Answer
  /** Another representation than this answer's. */
  unlike?: Answer
  /** No body. */
  empty?: true
  headers?: Readonly<Record<string, RegExp>>
  /** Members of the JSON object in the body. */
  json?: Readonly<Record<string, unknown>>
}

type More = Partial<Omit<Expectation, 'cache'>>

/** The handler did not run. */
export function hit(more: More = {}): Expectation {
  return { status: 200, cache: 'HIT', ...more }
}

/** The handler ran, and its answer was stored. */
export function miss(more: More = {}): Expectation {
  return { status: 200, cache: 'MISS', ...more }
}

/** The handler ran, and nothing was stored. */
export function bypass(more: More = {}): Expectation {
  return { status: 200, cache: 'BYPASS', ...more }
}

/** The cache had no part in it. */
export function uncached(status: number, more: More = {}): Expectation {
  return { status, cache: 'none', ...more }
}

/** What is not as expected, one line each. */
export function differences(answer: Answer, expected: Expectation): string[] {
  return [
    ...compare('status', expected.status, answer.status),
    ...compare('x-redis-cache', expected.cache, answer.headers['x-redis-cache'] ?? 'none'),
    ...compareRepresentations(answer, expected),
    ...(expected.empty === true ? compare('body', '', answer.text) : []),
    ...compareHeaders(answer, expected.headers ?? {}),
    ...compareJson(answer, expected.json ?? {}),
  ]
}

function compare(what: string, expected: unknown, actual: unknown): string[] {
  return isDeepStrictEqual(expected, actual) ? [] : [`${what}: expected ${show(expected)}, got ${show(actual)}`]
}

function compareRepresentations(answer: Answer, { sameAs, unlike, empty }: Expectation): string[] {
  const found: string[] = []
  if (sameAs !== undefined) {
    found.push(...compare('etag', sameAs.headers['etag'], answer.headers['etag']))
    if (empty !== true) found.push(...compare('body', sameAs.text, answer.text))
  }
  if (unlike !== undefined && unlike.headers['etag'] === answer.headers['etag']) {
    found.push(`etag: expected another than ${show(answer.headers['etag'])}`)
  }
  return found
}

function compareHeaders({ headers }: Answer, expected: Readonly<Record<string, RegExp>>): string[] {
  return Object.entries(expected)
    .filter(([name, pattern]) => !pattern.test(headers[name] ?? ''))
    .map(([name, pattern]) => `${name}: expected ${String(pattern)}, got ${show(headers[name])}`)
}

function compareJson({ text }: Answer, expected: Readonly<Record<string, unknown>>): string[] {
  const entries = Object.entries(expected)
  if (entries.length === 0) return []
  const body = parse(text)
  return entries.flatMap(([name, value]) => compare(`body.${name}`, value, body[name]))
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>
  } catch {
    return {}
  }
}

const SHOWN_MAX = 160

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text
}
