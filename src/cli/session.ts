import { createInterface } from 'node:readline/promises'
import { createRedis, type Redis } from '../create-redis.js'
import { UsageError } from '../errors.js'
import { silentLogger } from '../logger.js'
import type { RedisSettings } from '../redis/settings.js'
import { oneLine } from './output.js'

/** Options of every command. */
export interface GlobalOptions {
  readonly url?: string
  readonly prefix?: string
  readonly cluster?: boolean
  readonly json?: boolean
  readonly yes?: boolean
}

/**
 * The connection of one command, from options and the `REDIS_*` variables. Its timeouts are longer than an
 * application's, because no request waits for it. It accepts the data of a restarted server, so that looking at it
 * invalidates nothing, and does not report to operators.
 */
export async function withRedis<T>(options: GlobalOptions, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = createRedis({
    ...settingsOf(options),
    ...{ commandTimeout: '5s', invalidationTimeout: '5s', connectTimeout: '3s', trustRestarts: true },
    // The command's own error reports what is wrong with the connection.
    ...{ operate: false, otel: false, otelRedis: false, logger: silentLogger },
  })
  try {
    if (redis.settings.kind === 'memory')
      throw new UsageError(
        'The embedded store (memory:) lives inside its process. Set --url or REDIS_URL to a Redis server.',
      )
    await redis.connect().catch((error: unknown) => {
      // What the other primaries of a cluster hold can be looked at.
      if (redis.connection?.isPartial !== true) throw error
    })
    return await work(redis)
  } finally {
    await redis.close()
  }
}

/** What the command line says about the connection. */
export function settingsOf({ url, prefix, cluster }: GlobalOptions): RedisSettings {
  return {
    ...{ url, prefix, cluster: cluster === true ? true : undefined },
    // A URL of the command line wins over the sentinels of the environment.
    ...(url === undefined ? {} : { sentinel: false }),
  }
}

/** Ctrl-C at a question. */
export class Interrupted extends Error {}

/**
 * Asks on a terminal; without one, `--yes` has to be given. False: the operator does not want it, or ended the input
 * with Ctrl-D. Throws Interrupted after Ctrl-C.
 */
export async function confirmed({ yes }: GlobalOptions, what: string): Promise<boolean> {
  if (yes === true) return true
  if (!process.stdin.isTTY)
    throw new UsageError(`${oneLine(what)}: there is no terminal to ask on; confirm with --yes.`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await new Promise<string | undefined>((resolve) => {
    terminal.once('SIGINT', () => resolve(undefined)).once('close', () => resolve(''))
    terminal.question(`${oneLine(what)}? [y/N] `).then(resolve, () => resolve(''))
  })
  terminal.close()
  if (answer === undefined) throw new Interrupted()
  const isWanted = /^y(es)?$/i.test(answer.trim())
  if (!isWanted) process.stderr.write('Nothing was changed.\n')
  return isWanted
}
