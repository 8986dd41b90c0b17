import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Algorithm } from '../../src/limit/window.js'
import { sharedRedis } from '../support/redis-server.js'
import type { HitOrder } from './worker.js'

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))

async function passedIn(order: HitOrder): Promise<number[]> {
  const child = fork(WORKER, { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child.send(order)
  const [[message]] = (await Promise.all([once(child, 'message'), once(child, 'exit')])) as [
    [{ passed: number[] }],
    unknown,
  ]
  return message.passed
}

test('over four processes whose clocks differ by hours exactly the limit passes, of 50 hits and of 5,000', async () => {
  const { url, close } = await sharedRedis()
  const algorithms: Algorithm[] = ['sliding-window', 'fixed-window', 'token-bucket']
  const sizes = [
    { limit: 10, hits: 50 },
    { limit: 700, hits: 5000 },
  ]
  const runs = algorithms.flatMap((algorithm) =>
    sizes.map((size) => ({ algorithm, ...size, hits: Math.ceil(size.hits / 4) })),
  )
  const prefix = `limits-${process.pid}`
  try {
    const skews = [0, 3_600_000, -3_600_000, 86_400_000]
    const passed = await Promise.all(skews.map((skewMs) => passedIn({ url, prefix, skewMs, runs })))
    const sums = runs.map((_, index) => passed.reduce((sum, one) => sum + (one[index] ?? 0), 0))
    expect(sums).toEqual(runs.map(({ limit }) => limit))
  } finally {
    await close()
  }
})
