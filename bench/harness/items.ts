import type { Bench, Pace, Sample, Variant } from './bench.js'

/** Distinct URLs of the hit rows: enough that no trick with one hot key can help. */
export const ITEM_COUNT = 1000

export const SMALL_BYTES = 2 * 1024
export const LARGE_BYTES = 50 * 1024

/** On a machine that stalls, a read misses its deadline now and then, and the answer is rightly a miss. */
const LEAST_HITS = 0.98

/** Longer than any run. */
export const TTL = '1h' as const
export const TTL_SECONDS = 3600

interface Part {
  readonly id: string
  readonly name: string
  readonly price: number
  readonly tags: readonly string[]
  readonly inStock: boolean
}

export interface Item {
  readonly id: string
  readonly parts: readonly Part[]
}

function part(id: string, n: number): Part {
  return {
    id: `${id}-${n}`,
    name: `Part ${n} of item ${id}, blue`,
    price: 100 + n / 4,
    tags: ['blue', 'steel', 'new'],
    inStock: n % 3 > 0,
  }
}

/** An object whose JSON has about so many bytes. */
export function makeItem(id: string, bytes: number): Item {
  const each = JSON.stringify(part(id, 10)).length + 1
  return { id, parts: Array.from({ length: Math.round(bytes / each) }, (_, n) => part(id, n)) }
}

export function itemBytes(id: string, bytes: number): Buffer {
  return Buffer.from(JSON.stringify(makeItem(id, bytes)))
}

export function itemPath(n: number): string {
  return `/items/${n}`
}

export function get(path: string, headers: Readonly<Record<string, string>> = {}): string {
  return request('GET', path, headers)
}

export function request(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body = '',
): string {
  const all = {
    host: 'localhost',
    ...headers,
    ...(body === '' ? {} : { 'content-type': 'application/json', 'content-length': String(body.length) }),
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

/** GET of every item, in turn. */
export const everyItem: readonly string[] = Array.from({ length: ITEM_COUNT }, (_, n) => get(itemPath(n)))

/** Fills the cache and makes sure that it is filled: a row of hits must be one of hits. */
export async function fill(bench: Bench, variant: Variant, requests: readonly string[] = everyItem): Promise<void> {
  const handle = await bench.prepare(variant, { requests }, 8)
  await bench.send(handle, { count: requests.length })
  await new Promise((resolve) => setTimeout(resolve, 200))
  const { hits, answers } = await bench.send(handle, { count: requests.length })
  if (hits < answers * LEAST_HITS)
    throw new Error(`${variant.name}: only ${hits} of ${answers} answers are hits after filling`)
}

/** Header lines a baseline has to send as well, so that both sides write the same answer. */
export async function headersOf(
  bench: Bench,
  variant: Variant,
  requestText: string = everyItem[0] ?? '',
): Promise<Record<string, string>> {
  const [head = ''] = await bench.heads(variant, [requestText])
  const lines = head.split('\r\n').slice(1)
  const pairs = lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)] as const)
  const byServer = new Set(['date', 'connection', 'keep-alive', 'content-length', 'transfer-encoding'])
  return Object.fromEntries(pairs.filter(([name]) => !byServer.has(name.toLowerCase())))
}

/** A measurement that also checks what came back. */
export async function checkedSample(
  bench: Bench,
  variant: Variant,
  handle: number,
  expected: { readonly status?: number; readonly hits?: boolean } & Pace = {},
): Promise<Sample> {
  const { status = 200, hits = false, ...pace } = expected
  const sample = await bench.httpSample(variant, handle, pace)
  const { round } = sample
  if (round?.statuses[status] !== round?.answers) {
    throw new Error(`${variant.name}: expected ${status}, got ${JSON.stringify(round?.statuses)}`)
  }
  if (hits && round !== undefined && round.hits < round.answers * LEAST_HITS) {
    throw new Error(`${variant.name}: ${round.hits} hits of ${round.answers}`)
  }
  return sample
}
