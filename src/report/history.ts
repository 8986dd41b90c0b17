import { asError } from '../errors.js'
import { evaluate, type Reply } from '../redis/command.js'
import type { Connection } from '../redis/connection.js'
import type { Outcomes } from '../telemetry/stats.js'
import type { Desk } from './desk.js'
import { scripts } from './scripts.js'

/** One step of the history. */
export const BUCKET_MS = 300_000

/** How far the history goes back: 288 buckets. */
export const HISTORY_MS = 86_400_000

/** Routes and namespaces that one report to the history tells apart, the busiest first. Further ones count as `_OTHER`. */
const ORIGINS_MAX = 100

const OTHER = '_OTHER'

/** Lookups of one route or namespace. */
export interface OriginCounts extends Outcomes {
  readonly kind: 'route' | 'namespace'
  readonly name: string
}

/** Five minutes of all processes. */
export interface Bucket {
  /** Milliseconds since the epoch, a multiple of `BUCKET_MS`. */
  readonly startAt: number
  readonly origins: readonly OriginCounts[]
}

/** Where the history is kept: in Redis for all processes, or in this process with the embedded store. */
export interface History {
  /** Adds lookups to the bucket of this time. */
  add(at: number, counts: readonly OriginCounts[]): Promise<void>
  /** Buckets from one time to another, oldest first; those without lookups are left out. */
  read(from: number, to: number): Promise<readonly Bucket[]>
}

const METRICS = { h: 'hits', s: 'stale', m: 'misses', b: 'bypasses' } as const

type Metric = keyof typeof METRICS

function isMetric(letter: string): letter is Metric {
  return letter in METRICS
}

function bucketOf(at: number): number {
  return at - (at % BUCKET_MS)
}

/** A hash for each bucket: one command a minute of each process that had lookups. */
export class RedisHistory implements History {
  constructor(
    private readonly connection: Connection,
    private readonly desk: Desk,
  ) {}

  async add(at: number, counts: readonly OriginCounts[]): Promise<void> {
    const fields = fieldsOf(bounded(counts))
    if (fields.length === 0) return
    const send: Pick<Connection, 'ask'> = {
      ask: (command, key, _, { onReply, onError }) => void this.connection.inspect(command, key).then(onReply, onError),
    }
    const args = [String(HISTORY_MS + BUCKET_MS), ...fields.flatMap(([field, count]) => [field, String(count)])]
    await evaluate(send, scripts.history, [this.desk.history(bucketOf(at))], args)
  }

  async read(from: number, to: number): Promise<readonly Bucket[]> {
    const starts: number[] = []
    for (let start = bucketOf(from); start <= to; start += BUCKET_MS) starts.push(start)
    const buckets = await Promise.all(
      starts.map(async (startAt) => {
        const name = this.desk.history(startAt)
        return { startAt, origins: originsOf(await this.#fields(name)) }
      }),
    )
    return buckets.filter(({ origins }) => origins.length > 0)
  }

  /** Nothing where the primary that has it does not answer, and others do. */
  #fields(name: string): Promise<Reply> {
    return this.connection
      .inspect(['HGETALL', name], name)
      .catch((error: unknown) => (this.connection.isPartial ? [] : Promise.reject(asError(error))))
  }
}

/** `<metric><r or n>:<name>` and the count, where there is one. */
function fieldsOf(counts: readonly OriginCounts[]): readonly (readonly [field: string, count: number])[] {
  return counts.flatMap((origin) =>
    Object.entries(METRICS).flatMap(([letter, metric]) =>
      origin[metric] > 0 ? [[`${letter}${origin.kind[0] ?? ''}:${origin.name}`, origin[metric]] as const] : [],
    ),
  )
}

/** A hash as RESP2 and RESP3 return it: a flat list, or an object of the driver. */
function originsOf(reply: Reply): readonly OriginCounts[] {
  const flat: readonly unknown[] = Array.isArray(reply) ? reply : reply === null ? [] : Object.entries(reply).flat()
  const found = new Map<string, OriginCounts>()
  for (let index = 0; index + 1 < flat.length; index += 2) {
    const field = String(flat[index])
    const [letter = '', kind = ''] = field
    const name = field.slice(3)
    if (!isMetric(letter)) continue
    const id = field.slice(1)
    const known = found.get(id) ?? emptyCounts(kind === 'r' ? 'route' : 'namespace', name)
    found.set(id, { ...known, [METRICS[letter]]: Number(flat[index + 1]) })
  }
  return [...found.values()]
}

export function emptyCounts(kind: OriginCounts['kind'], name: string): OriginCounts {
  return { kind, name, hits: 0, stale: 0, misses: 0, bypasses: 0 }
}

export function addCounts<T extends Outcomes>(one: T, other: Outcomes): T {
  const { hits, stale, misses, bypasses } = other
  return {
    ...one,
    hits: one.hits + hits,
    stale: one.stale + stale,
    misses: one.misses + misses,
    bypasses: one.bypasses + bypasses,
  }
}

export function totalOf({ hits, stale, misses, bypasses }: Outcomes): number {
  return hits + stale + misses + bypasses
}

/** The busiest origins, and the sum of the others. */
function bounded(counts: readonly OriginCounts[]): readonly OriginCounts[] {
  if (counts.length <= ORIGINS_MAX) return counts
  const sorted = counts.toSorted((one, other) => totalOf(other) - totalOf(one))
  const rest = sorted.slice(ORIGINS_MAX).reduce(addCounts, emptyCounts('route', OTHER))
  return [...sorted.slice(0, ORIGINS_MAX), rest]
}

/** The history of this process alone. */
export class MemoryHistory implements History {
  readonly #buckets = new Map<number, Map<string, OriginCounts>>()

  async add(at: number, counts: readonly OriginCounts[]): Promise<void> {
    const start = bucketOf(at)
    const bucket = this.#buckets.get(start) ?? new Map<string, OriginCounts>()
    this.#buckets.set(start, bucket)
    for (const one of bounded(counts)) {
      const id = `${one.kind}:${one.name}`
      bucket.set(id, addCounts(bucket.get(id) ?? emptyCounts(one.kind, one.name), one))
    }
    for (const old of this.#buckets.keys()) if (old < start - HISTORY_MS) this.#buckets.delete(old)
  }

  async read(from: number, to: number): Promise<readonly Bucket[]> {
    const inside = [...this.#buckets].filter(([startAt]) => startAt >= bucketOf(from) && startAt <= to)
    return inside.map(([startAt, origins]) => ({ startAt, origins: [...origins.values()] }))
  }
}
