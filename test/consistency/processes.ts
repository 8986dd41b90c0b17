import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { ProtocolName } from './protocols.js'

/** What becomes of the runs of a key that many ask for at once. */
export type RunKind =
  | 'storable'
  | 'failing'
  /** Its group is evicted during each of them. */
  | 'fenced'
  | 'unstorable'
  /** Its body takes four times as long as its head. */
  | 'streaming'
  /** The first of them never ends. */
  | 'hanging'
  /** A write-through of the key is under way all the time. */
  | 'written'

interface Base {
  readonly url: string
  readonly prefix: string
}

export type Order = Base &
  (
    | {
        readonly task: 'race'
        readonly protocol: ProtocolName
        readonly keys: number
        readonly readers: number
        readonly writers: number
        readonly writes: number
      }
    | {
        readonly task: 'stampede'
        readonly callers: number
        readonly handlerMs: number
        readonly storable: boolean
        readonly startAt: number
      }
    | {
        readonly task: 'waiting'
        readonly run: RunKind
        readonly callers: number
        readonly handlerMs: number
        readonly startAt: number
      }
    | { readonly task: 'coherence'; readonly keys: number; readonly forMs: number; readonly pauseMs: number }
    | { readonly task: 'write-through'; readonly naive: boolean; readonly rounds: number; readonly processes: number }
  )

export interface Outcome {
  readonly reads: number
  readonly loads: number
  readonly stale: number
  readonly waitedMs: readonly number[]
  /** Lookups that a near cache answered, and how often it was given up. */
  readonly nearHits?: number | undefined
  readonly losses?: number | undefined
}

export interface Process {
  readonly child: ChildProcess
  /** Settles with what the process answers; rejects when it dies before. */
  readonly outcome: Promise<Outcome>
}

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))

/** Starts a process with an order. `onRunning` hears when a handler begins in it. */
export function startProcess(order: Order, onRunning: (child: ChildProcess) => void = () => {}): Process {
  const child = fork(WORKER, { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child.send(order)
  return { child, outcome: answer(child, onRunning) }
}

async function answer(child: ChildProcess, onRunning: (child: ChildProcess) => void): Promise<Outcome> {
  const exited = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the process ended early: ${String(code ?? signal)}`)
  })
  exited.catch(() => {})
  const message = await Promise.race([nextOutcome(child, onRunning), exited])
  child.disconnect()
  await once(child, 'exit')
  if ('error' in message) throw new Error(message.error)
  return message
}

function nextOutcome(
  child: ChildProcess,
  onRunning: (child: ChildProcess) => void,
): Promise<Outcome | { error: string }> {
  return new Promise((resolve) => {
    child.on('message', (message: Outcome | { error: string } | { running: number }) => {
      if ('running' in message) onRunning(child)
      else resolve(message)
    })
  })
}

export async function runProcesses(count: number, order: Order): Promise<Outcome> {
  const outcomes = await Promise.all(Array.from({ length: count }, () => startProcess(order).outcome))
  return {
    reads: outcomes.reduce((sum, { reads }) => sum + reads, 0),
    loads: outcomes.reduce((sum, { loads }) => sum + loads, 0),
    stale: outcomes.reduce((sum, { stale }) => sum + stale, 0),
    waitedMs: outcomes.flatMap(({ waitedMs }) => waitedMs),
    nearHits: outcomes.reduce((sum, { nearHits = 0 }) => sum + nearHits, 0),
    losses: outcomes.reduce((sum, { losses = 0 }) => sum + losses, 0),
  }
}
