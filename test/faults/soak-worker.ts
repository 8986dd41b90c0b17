import { setTimeout as delay } from 'node:timers/promises'
import { type Findings, type Timing, Traffic } from './traffic.js'

/** What the parent says. */
export type Order =
  | { readonly say: 'start'; readonly url: string }
  | { readonly say: 'fault' | 'healed' | 'calm' | 'stop' }

export type Phase = 'calm' | 'first second' | 'later'

export interface Quantiles {
  readonly count: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** What the worker says at its end. */
export interface Account {
  readonly findings: Findings
  /** What the cache added to a request, by phase of the faults. */
  readonly added: Readonly<Record<Phase, Quantiles>>
  /** From the end of each fault to the first hit. */
  readonly recoveryMs: readonly number[]
  /** Bytes of the heap after a collection, once a second. */
  readonly heap: readonly number[]
  readonly unhandled: readonly string[]
  /** What kept the process alive before the traffic began, and after everything was closed. */
  readonly resourcesBefore: readonly string[]
  readonly resourcesAfter: readonly string[]
}

const SAMPLES_MAX = 20_000
const ITEMS = 200

const unhandled: string[] = []
process.on('unhandledRejection', (reason) => unhandled.push(String(reason)))

const cleanups: (() => Promise<void>)[] = []
const added: Record<Phase, number[]> = { calm: [], 'first second': [], later: [] }
const recoveryMs: number[] = []
const heap: number[] = []
let traffic: Traffic
let faultAt = 0
let healedAt: number | undefined
let calm = true
let resourcesBefore: string[] = []
let sampling: NodeJS.Timeout

function phase(now: number): Phase {
  if (calm) return 'calm'
  return now - faultAt < 1000 ? 'first second' : 'later'
}

function onRead({ addedMs, endedAt, cache }: Timing): void {
  const samples = added[phase(endedAt)]
  // The oldest is replaced at random, so that a long run is sampled evenly enough.
  if (samples.length < SAMPLES_MAX) samples.push(addedMs)
  else samples[Math.floor(Math.random() * SAMPLES_MAX)] = addedMs
  if (healedAt === undefined || cache !== 'HIT') return
  recoveryMs.push(endedAt - healedAt)
  healedAt = undefined
}

function quantiles(samples: readonly number[]): Quantiles {
  const sorted = samples.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

async function start(url: string): Promise<void> {
  resourcesBefore = process.getActiveResourcesInfo()
  traffic = await Traffic.start(
    { url, socketTimeout: '600ms', connectTimeout: '600ms' },
    (cleanup) => void cleanups.push(cleanup),
    ITEMS,
  )
  traffic.onRead = onRead
  sampling = setInterval(() => {
    globalThis.gc?.()
    heap.push(process.memoryUsage().heapUsed)
  }, 1000)
  process.send?.({ started: traffic.services[0]?.app.redis.settings.prefix })
}

async function stop(): Promise<void> {
  clearInterval(sampling)
  const findings = await traffic.stop()
  for (const cleanup of cleanups.reverse()) await cleanup()
  // Sockets that were just closed take a turn or two to go.
  await delay(200)
  const account: Account = {
    findings,
    added: {
      calm: quantiles(added.calm),
      'first second': quantiles(added['first second']),
      later: quantiles(added.later),
    },
    recoveryMs,
    heap,
    unhandled,
    resourcesBefore,
    resourcesAfter: process.getActiveResourcesInfo(),
  }
  process.send?.(account)
  process.disconnect()
}

process.on('message', (order: Order) => {
  const now = performance.now()
  if (order.say === 'start') void start(order.url)
  else if (order.say === 'stop') void stop()
  else if (order.say === 'fault') {
    calm = false
    faultAt = now
    healedAt = undefined
  } else if (order.say === 'healed') healedAt = now
  else calm = true
})
