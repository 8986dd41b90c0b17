import type { TestProject } from 'vitest/node'
import { startRedis } from './redis-server.js'

declare module 'vitest' {
  interface ProvidedContext {
    redisUrl: string
  }
}

/**
 * One Redis server for the whole run, without persistence, on a free port of 127.0.0.1. Tests find it by
 * `sharedRedis()`, or as `REDWELL_TEST_REDIS_URL`; they keep apart by prefixes of their own.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startRedis()
  process.env['REDWELL_TEST_REDIS_URL'] = server.url
  project.provide('redisUrl', server.url)
  // Ended from outside, vitest would leave without the servers' own clean-up.
  process.once('SIGTERM', () => process.exit(143))
  return () => server.close()
}
