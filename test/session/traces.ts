import { inspect } from 'node:util'
import type { RedisClientType } from '@redis/client'
import type { Redis } from '../../src/index.js'
import { type CacheEvents, channels, subscribe } from '../../src/telemetry/events.js'
import { recordingLogger } from '../support/logger.js'

/** What a session cookie must not leave anywhere: everything behind the handle and the tag. */
export function secretOf(cookie: string | undefined): string {
  return (cookie ?? '').slice(-43)
}

/** A command by the driver's own client. */
export function command(redis: Redis, ...args: string[]): Promise<unknown> {
  return (redis.client as RedisClientType).sendCommand(args)
}

/** Resolves when the connection is ready. */
export function ready(redis: Redis): Promise<void> {
  if (redis.status === 'ready') return Promise.resolve()
  return new Promise((resolve) => {
    const stop = redis.onStatus((status) => {
      if (status !== 'ready') return
      stop()
      resolve()
    })
  })
}

/** All that applications leave behind: keys and values in Redis, logs, events, and what else is said. */
export class Traces {
  readonly logger = recordingLogger()
  readonly issued = new Set<string>()
  readonly prefixes: string[] = []
  readonly #said: string[] = []
  readonly #stops: (() => void)[] = []

  /** Listens on every channel of diagnostics. */
  begin(): void {
    for (const { name } of Object.values(channels))
      this.#stops.push(subscribe(name as keyof CacheEvents, (event) => this.say(event)))
  }

  end(): void {
    for (const stop of this.#stops.splice(0)) stop()
  }

  say(...things: readonly unknown[]): void {
    for (const thing of things) this.#said.push(typeof thing === 'string' ? thing : inspect(thing, SHOW_ALL))
  }

  /** As one text, and how many keys there are in it. */
  async everything(redis: Redis): Promise<{ readonly text: string; readonly keys: number }> {
    const stored = (
      await Promise.all(this.prefixes.map((prefix) => storedUnder(redis, `${prefix.replaceAll(/[*?[\]\\]/g, '?')}*`)))
    ).flat()
    return { text: [...this.#said, ...this.logger.lines, ...stored.flat()].join('\n'), keys: stored.length }
  }
}

const SHOW_ALL = { depth: Infinity, maxStringLength: Infinity, maxArrayLength: Infinity, showHidden: true } as const

const READ: Readonly<Record<string, (key: string) => string[]>> = {
  hash: (key) => ['HGETALL', key],
  zset: (key) => ['ZRANGE', key, '0', '-1', 'WITHSCORES'],
  set: (key) => ['SMEMBERS', key],
  list: (key) => ['LRANGE', key, '0', '-1'],
  string: (key) => ['GET', key],
  stream: (key) => ['XRANGE', key, '-', '+'],
}

async function storedUnder(redis: Redis, pattern: string): Promise<(readonly [key: string, value: string])[]> {
  const keys = (await command(redis, 'KEYS', pattern)) as string[]
  return Promise.all(
    keys.map(async (key) => {
      const read = READ[String(await command(redis, 'TYPE', key))]
      return [key, read === undefined ? '' : inspect(await command(redis, ...read(key)), SHOW_ALL)] as const
    }),
  )
}
