// Hits one identity so many times as told, and answers how many passed. Its clock may be wrong by hours.
import { Limits } from '../../src/limit/limits.js'
import type { Algorithm } from '../../src/limit/window.js'
import { Connection } from '../../src/redis/connection.js'
import { LimitRecorder } from '../../src/telemetry/outcomes.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'

export interface HitOrder {
  readonly url: string
  readonly prefix: string
  readonly skewMs: number
  readonly runs: readonly { readonly algorithm: Algorithm; readonly limit: number; readonly hits: number }[]
}

const logger = { info: () => {}, warn: () => {}, error: () => {} }
const telemetry = new LimitRecorder()

process.once('message', (order: HitOrder) => {
  void run(order).then((passed) => {
    process.send?.({ passed }, () => process.disconnect())
  })
})

async function run({ url, prefix, skewMs, runs }: HitOrder): Promise<number[]> {
  const now = Date.now.bind(Date)
  Date.now = () => now() + skewMs
  const connection = new Connection(resolveSettings({ url, commandTimeout: 10 }, {}), logger)
  await connection.connect()
  const limits = new Limits(connection, { prefix, failClosed: true, headers: 'draft' }, telemetry, logger, Date.now)
  const passed: number[] = []
  for (const [index, { algorithm, limit, hits }] of runs.entries()) {
    const limiter = limits.limiter(`run ${index}`, { rate: { limit, window: '1h' }, algorithm })
    const verdicts = await Promise.all(Array.from({ length: hits }, async () => limiter.hit('ann')))
    passed.push(verdicts.filter((verdict) => verdict.allowed).length)
  }
  await connection.close()
  return passed
}
