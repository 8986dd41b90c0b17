import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { RedisSettings } from '../../src/redis/settings.js'

const LEAVER = fileURLToPath(new URL('leaver.ts', import.meta.url))
/** It would stay for ever if something held it. */
const LIMIT_MS = 20_000

/** What a process says that used the cache and closed it: how its last write went, and how many sockets and timers were left. */
export async function leave(settings: RedisSettings): Promise<unknown> {
  const args = ['--import', 'tsx', LEAVER, JSON.stringify(settings)]
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: LIMIT_MS })
  return JSON.parse(stdout)
}
