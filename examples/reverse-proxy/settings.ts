import type { FastifyCacheOptions } from 'redwell/fastify'

/** What both variants of the proxy are told by environment variables. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly upstream: URL
  readonly redisUrl: string
  /** Milliseconds. */
  readonly commandTimeout: `${number}ms`
  readonly preset: 'app' | 'rfc9111'
}

/** Throws what is wrong with a variable. An empty one is one that is not set. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const text = (name: string, fallback: string): string => env[name]?.trim() || fallback
  const port = Number(text('PORT', '8080'))
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new TypeError(`PORT=${env['PORT']} is no port`)
  const preset = text('PRESET', 'rfc9111')
  if (preset !== 'app' && preset !== 'rfc9111') throw new TypeError(`PRESET=${preset} is not one of app, rfc9111`)
  const commandTimeoutMs = Number(text('COMMAND_TIMEOUT_MS', '50'))
  if (!(commandTimeoutMs > 0)) throw new TypeError(`COMMAND_TIMEOUT_MS=${env['COMMAND_TIMEOUT_MS']} is no duration`)
  return {
    host: text('HOST', '127.0.0.1'),
    port,
    upstream: new URL(text('UPSTREAM_URL', 'http://127.0.0.1:8000')),
    redisUrl: text('REDIS_URL', 'memory:'),
    commandTimeout: `${commandTimeoutMs}ms`,
    preset,
  }
}

/**
 * No lifetime and no entity-tag: those are the upstream's to set. In `rfc9111` it may also address gateways alone, by the
 * fields that were made for them. In `app`, `unkeyedReads` says what redwell cannot see: the handler passes all fields
 * on, but the upstream does not answer by cookies or credentials.
 */
export function cacheOptions(
  preset: Settings['preset'],
): Pick<FastifyCacheOptions, 'preset' | 'etag' | 'targets' | 'unkeyedReads'> {
  return { preset, etag: false, ...(preset === 'rfc9111' ? { targets: GATEWAY_FIELDS } : { unkeyedReads: 'ignore' }) }
}

/** redwell's own, RFC 9213's, and the W3C's older one; the first that is there and well-formed counts. */
const GATEWAY_FIELDS = ['Redis-Cache-Control', 'CDN-Cache-Control', 'Surrogate-Control']

export function stopSignal(): Promise<void> {
  return new Promise((stop) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop())
  })
}

/** A connection that was busy when its server closed would hold it for the whole of its keep-alive. */
const GRACE_MS = 2000

/** Ends what is still connected a while after the server has begun to close. */
export function endLater(server: { closeAllConnections?(): void }): void {
  setTimeout(() => server.closeAllConnections?.(), GRACE_MS).unref()
}
