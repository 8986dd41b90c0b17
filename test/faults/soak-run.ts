import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { redisCli } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-server.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import { type Fault, FAULTS, type Place } from './faults.js'
import type { Account, Order } from './soak-worker.js'
import { problemsIn } from './traffic.js'

export interface SoakReport extends Account {
  readonly faults: Readonly<Record<string, number>>
  /** Leases in Redis a while after the traffic ended. */
  readonly leases: number
  /** Connections to Redis after the process had closed its own. */
  readonly connections: number
  readonly exitCode: number | null
}

const WORKER = fileURLToPath(new URL('soak-worker.ts', import.meta.url))
/** A fault that nobody ends lasts up to this long; between faults there is as much calm. */
const FAULT_MAX_MS = 2000
const CALM_MS = 1500
/** A lease that nobody renews is gone by then. */
const LEASE_MS = 3500
/** These need a server of their own kind. */
const UNFIT = /LOADING|while ago|without its data/

/** Traffic in a process of its own, and one fault after the other, drawn at random. */
export async function soak(seconds: number, onFault: (name: string) => void = () => {}): Promise<SoakReport> {
  const server = await startRedis({ persistent: true })
  const proxy = await TcpProxy.to(server.port)
  const child = fork(WORKER, {
    execArgv: ['--import', 'tsx', '--expose-gc'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  try {
    const tell = (order: Order): void => void child.send(order)
    const [{ started }] = (await told(child, { say: 'start', url: proxy.url })) as [{ started: string }]
    const cli = (...command: string[]): Promise<string> => redisCli('-p', String(server.port), ...command)
    const more = (count: number): Promise<void> => delay(count * 2)
    const faults = await inflict({ server, proxy, cli, traffic: { more } }, seconds, tell, onFault)
    const exited = once(child, 'exit') as Promise<[number | null]>
    const [account] = (await told(child, { say: 'stop' })) as [Account]
    const [exitCode] = await exited
    await delay(LEASE_MS)
    const leases = (await cli('--scan', '--pattern', `${started}:lease:*`)).trim()
    return {
      ...account,
      faults,
      leases: leases === '' ? 0 : leases.split('\n').length,
      connections: proxy.connections,
      exitCode,
    }
  } finally {
    child.kill('SIGKILL')
    await proxy.close()
    await server.close()
  }
}

async function told(child: ChildProcess, order: Order): Promise<unknown[]> {
  const answer = once(child, 'message')
  child.send(order)
  const died = once(child, 'exit').then(([code]) =>
    Promise.reject(new Error(`the worker ended early: ${String(code)}`)),
  )
  died.catch(() => {})
  return Promise.race([answer, died])
}

async function inflict(
  place: Place,
  seconds: number,
  tell: (order: Order) => void,
  onFault: (name: string) => void,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  const endsAt = performance.now() + seconds * 1000
  await delay(CALM_MS)
  while (performance.now() < endsAt) {
    const fault = draw()
    counts[fault.name] = (counts[fault.name] ?? 0) + 1
    onFault(fault.name)
    tell({ say: 'fault' })
    await fault.happens(place)
    await delay(Math.random() * FAULT_MAX_MS)
    await fault.ends?.(place)
    tell({ say: 'healed' })
    await delay(CALM_MS)
    tell({ say: 'calm' })
    await delay(CALM_MS)
  }
  return counts
}

function draw(): Fault {
  const fit = FAULTS.filter(({ name }) => !UNFIT.test(name))
  return fit[Math.floor(Math.random() * fit.length)] as Fault
}

/** What must not be after a soak, however long it was. */
export function problemsOf(report: SoakReport): readonly string[] {
  const left = newResources(report)
  return [
    ...problemsIn(report.findings),
    ...report.unhandled.map((reason) => `unhandled rejection: ${reason}`),
    ...(left.length > 0 ? [`left behind: ${left.join(', ')}`] : []),
    ...(report.leases > 0 ? [`${report.leases} leases left in Redis`] : []),
    ...(report.connections > 0 ? [`${report.connections} connections left`] : []),
    ...(report.exitCode === 0 ? [] : [`the process ended with ${report.exitCode}`]),
    ...(growth(report.heap) > HEAP_GROWTH_MAX ? [`the heap grew by ${mebibytes(growth(report.heap))}`] : []),
  ]
}

/** Compiled code and caches of the runtime settle in the first part; what grows after that would grow for ever. */
const HEAP_GROWTH_MAX = 8 * 1024 * 1024

/** From the median of the second third of the run to that of the last. */
export function growth(heap: readonly number[]): number {
  const third = Math.floor(heap.length / 3)
  return median(heap.slice(2 * third)) - median(heap.slice(third, 2 * third))
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

function newResources({ resourcesBefore, resourcesAfter }: Account): string[] {
  const before = [...resourcesBefore]
  return resourcesAfter.filter((name) => {
    const index = before.indexOf(name)
    if (index !== -1) before.splice(index, 1)
    return index === -1
  })
}
