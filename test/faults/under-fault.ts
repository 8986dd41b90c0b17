import type { TestContext } from 'vitest'
import type { RedisSettings } from '../../src/redis/settings.js'
import { redisCli } from '../support/redis-cluster.js'
import { type RedisServerOptions, startRedis } from '../support/redis-server.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import type { Fault, Place } from './faults.js'
import { type AtEnd, problemsIn, Traffic } from './traffic.js'

/** Settings of one process for the server of this URL. */
export type SettingsOf = (url: string, atEnd: AtEnd) => RedisSettings

const ownDriver: SettingsOf = (url) => ({ url, socketTimeout: '600ms', connectTimeout: '600ms' })

async function setUp(
  atEnd: AtEnd,
  settingsOf: SettingsOf,
  options?: RedisServerOptions,
): Promise<Place & { traffic: Traffic }> {
  const server = await startRedis(options)
  atEnd(() => server.close())
  const proxy = await TcpProxy.to(server.port)
  atEnd(() => proxy.close())
  const traffic = await Traffic.start(() => settingsOf(proxy.url, atEnd), atEnd)
  await traffic.cached()
  return { server, proxy, traffic, cli: (...command) => redisCli('-p', String(server.port), ...command) }
}

/** Under the fault no request fails, no answer is old, and the cache comes back. */
export async function underFault(
  fault: Fault,
  { expect, onTestFinished }: TestContext,
  settingsOf: SettingsOf = ownDriver,
): Promise<void> {
  const { server, happens, ends, away, says } = fault
  const place = await setUp(onTestFinished, settingsOf, server)
  const { traffic } = place
  await happens(place)
  if (away) {
    const { app } = traffic.services[0] as (typeof traffic.services)[number]
    await traffic.more(200)
    if (ends !== undefined) expect(await isHit(app)).toBe(false)
  }
  await ends?.(place)
  await traffic.cached()
  const findings = await traffic.stop()
  expect(problemsIn(findings)).toEqual([])
  for (const { lines } of traffic.services) {
    expect(lines.filter((line) => line.startsWith('error'))).toEqual([])
    // The fault was one, and the operator was told which.
    if (says !== undefined) expect(lines.join('\n')).toMatch(says)
  }
}

async function isHit(app: Traffic['services'][number]['app']): Promise<boolean> {
  await app.inject('/probe')
  const second = await app.inject('/probe')
  return second.headers['x-redis-cache'] === 'HIT'
}
