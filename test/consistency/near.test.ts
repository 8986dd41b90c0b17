import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { createClient } from '@redis/client'
import { expect, onTestFinished, test } from 'vitest'
import { TRACKING_LAG_MS } from '../../src/redis/tracking.js'
import { startRedis } from '../support/redis-server.js'
import { runProcesses } from './processes.js'

const TIMEOUT_MS = 60_000

/** Ends every connection that tells a near cache of changes, again and again. Returns the function that stops it. */
async function killTracking(url: string, everyMs: number): Promise<() => Promise<number>> {
  const client = createClient({ url })
  await client.connect()
  const ending = new AbortController()
  let killed = 0
  const killing = (async () => {
    while (!ending.signal.aborted) {
      const lines = ((await client.sendCommand(['CLIENT', 'LIST'])) as unknown as string).split('\n')
      for (const line of lines.filter((text) => / flags=\w*B/.test(text)))
        killed += Number(await client.sendCommand(['CLIENT', 'KILL', 'ID', /^id=(\d+)/.exec(line)?.[1] ?? '0']))
      await pause(everyMs)
    }
    await client.close()
    return killed
  })()
  return () => {
    ending.abort()
    return killing
  }
}

async function race(killEveryMs: number | undefined, forMs: number, keys: number) {
  const server = await startRedis()
  onTestFinished(() => server.close())
  const stop = killEveryMs === undefined ? undefined : await killTracking(server.url, killEveryMs)
  const order = {
    task: 'coherence',
    url: server.url,
    prefix: `near:${randomUUID()}`,
    keys,
    forMs,
    pauseMs: 40,
  } as const
  const outcome = await runProcesses(3, order)
  return { ...outcome, killed: (await stop?.()) ?? 0 }
}

test(
  'near caches: the process that wrote never reads an older value, others no older than the bound',
  { timeout: TIMEOUT_MS },
  async () => {
    const { stale, waitedMs, nearHits, loads, reads } = await race(undefined, 1500, 4)
    expect(stale).toBe(0)
    expect(Math.max(0, ...waitedMs)).toBeLessThan(TRACKING_LAG_MS)
    // Of use in between, or nothing is shown.
    expect(nearHits).toBeGreaterThan(50)
    expect(loads).toBeLessThan(reads)
  },
)

test('the same while the connections that tell of changes are killed in a loop', { timeout: TIMEOUT_MS }, async () => {
  const seen = { nearHits: 0, losses: 0, killed: 0 }
  const isShown = (): boolean => seen.nearHits > 10 && seen.losses > 5 && seen.killed > 5
  // On a busy machine a run may be too short to show anything.
  for (let runs = 0; runs < 8 && !isShown(); runs += 1) {
    const { stale, waitedMs, nearHits, losses, killed } = await race(150, 3000, 100)
    expect(stale).toBe(0)
    expect(Math.max(0, ...waitedMs)).toBeLessThan(TRACKING_LAG_MS)
    seen.nearHits += nearHits ?? 0
    seen.losses += losses ?? 0
    seen.killed += killed
  }
  expect(seen).toSatisfy(isShown)
})
