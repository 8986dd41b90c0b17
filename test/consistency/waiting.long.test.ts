import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { type RunKind, startProcess } from './processes.js'

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})

afterAll(() => server.close())

const HANDLER_MS = 3000

/** Processes and requests of their own take their time on a busy machine, less than another run would. */
const SLACK_MS = 2500

/** How long the runs of a key may keep a request, in handler times, beyond which they would be waited for in turn. */
const LIMITS: Readonly<Record<RunKind, number>> = {
  storable: 1,
  failing: 2,
  fenced: 2,
  unstorable: 2,
  // Head and body are four handler times; those who wait are released at the first pause of the body.
  streaming: 6,
  // The longest wait is ten seconds.
  hanging: 1 + 10_000 / HANDLER_MS,
  written: 1,
}

const KINDS = Object.keys(LIMITS) as RunKind[]

describe.each([
  [1, 20],
  [1, 200],
  [4, 20],
  [4, 200],
])('in %i processes with %i requests each', (processes, callers) => {
  test.each(KINDS)('%s: none waits for more than one run and its own', { timeout: 60_000 }, async (run) => {
    const order = {
      task: 'waiting',
      url: server.url,
      prefix: `waiting:${randomUUID()}`,
      callers,
      handlerMs: HANDLER_MS,
      run,
      startAt: Date.now() + 3000 + 1000 * processes,
    } as const
    const outcomes = await Promise.all(Array.from({ length: processes }, () => startProcess(order).outcome))
    const waits = outcomes.flatMap(({ waitedMs }) => waitedMs)
    expect(waits.length).toBeGreaterThanOrEqual((callers - 1) * processes)
    expect(Math.max(...waits)).toBeLessThan(LIMITS[run] * HANDLER_MS + SLACK_MS)
  })
})
