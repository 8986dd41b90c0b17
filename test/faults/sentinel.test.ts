import { expect, test } from 'vitest'
import { leave } from './leave.js'
import { atEnd, settings, TIMEOUT_MS, trio } from './on-sentinels.js'
import { problemsIn, Traffic } from './traffic.js'

test('a process that closes leaves no socket and no timer', async () => {
  expect(await leave(settings({ commandTimeout: '5s' }))).toEqual({ stored: true, left: [] })
})

test('a master that is called away under load: SENTINEL FAILOVER', { timeout: TIMEOUT_MS }, async () => {
  const traffic = await Traffic.start(settings(), atEnd)
  await traffic.cached()
  const before = await trio.master()
  // The old master serves on until the sentinels demote it: the one case that docs/operations.md says is not detected.
  traffic.split = true
  await trio.failover()
  await expect.poll(async () => (await trio.master()) !== before, { timeout: 20_000 }).toBe(true)
  await traffic.on((await trio.master()).port)
  traffic.split = false
  await traffic.more(100)
  await traffic.cached()
  expect(problemsIn(await traffic.stop())).toEqual([])
  await trio.settled()
})
