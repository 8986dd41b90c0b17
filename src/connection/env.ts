import type { RedisSettings, SentinelOptions, TlsOptions } from './settings.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** What the `REDIS_*` variables give. TLS files and sentinels count only where TLS and Sentinel are switched on. */
export interface FromEnvironment {
  readonly settings: Omit<RedisSettings, 'tls' | 'sentinel'>
  readonly tlsOn: boolean | undefined
  readonly tls: TlsOptions
  readonly sentinelOn: boolean | undefined
  readonly sentinel: SentinelOptions
}

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['yes', true],
  ['false', false],
  ['0', false],
  ['no', false],
])

/** An empty variable is one that is not set; unknown ones are ignored. */
export function readEnvironment(env: Environment, problems: string[]): FromEnvironment {
  const { text, number, flag } = readers(env, problems)
  return {
    settings: {
      url: text('REDIS_URL'),
      host: text('REDIS_HOST'),
      port: number('REDIS_PORT'),
      db: number('REDIS_DB'),
      username: text('REDIS_USERNAME'),
      password: text('REDIS_PASSWORD'),
      maxConnections: number('REDIS_MAX_CONNECTIONS'),
      socketTimeout: number('REDIS_SOCKET_TIMEOUT'),
      connectTimeout: number('REDIS_SOCKET_CONNECT_TIMEOUT'),
      cluster: flag('REDIS_CLUSTER'),
      prefix: text('REDIS_PREFIX'),
      defaultTtl: number('REDIS_DEFAULT_TTL'),
      warnUnboundedCache: flag('REDIS_WARN_UNBOUNDED_CACHE'),
      otel: flag('REDIS_OTEL_ENABLED'),
      otelRedis: flag('REDIS_OTEL_REDIS_ENABLED'),
    },
    tlsOn: flag('REDIS_SSL'),
    tls: {
      cert: text('REDIS_SSL_CERTFILE'),
      key: text('REDIS_SSL_KEYFILE'),
      ca: text('REDIS_SSL_CA_CERTS'),
      checkHostname: flag('REDIS_SSL_CHECK_HOSTNAME'),
    },
    sentinelOn: flag('REDIS_SENTINEL'),
    sentinel: {
      nodes: text('REDIS_SENTINEL_NODES'),
      masterName: text('REDIS_SENTINEL_MASTER_NAME'),
      username: text('REDIS_SENTINEL_USERNAME'),
      password: text('REDIS_SENTINEL_PASSWORD'),
    },
  }
}

interface Readers {
  readonly text: (name: string) => string | undefined
  readonly number: (name: string) => number | undefined
  readonly flag: (name: string) => boolean | undefined
}

function readers(env: Environment, problems: string[]): Readers {
  const text = (name: string): string | undefined => (env[name] === '' ? undefined : env[name])
  return {
    text,
    number: (name) => {
      const value = text(name)
      if (value === undefined) return undefined
      if (/^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/.test(value)) return Number(value)
      problems.push(`${name}: '${value}' is not a number`)
      return undefined
    },
    flag: (name) => {
      const value = text(name)
      if (value === undefined) return undefined
      const known = BOOLEANS.get(value.trim().toLowerCase())
      if (known === undefined) problems.push(`${name}: '${value}' is not one of true, false, 1, 0, yes, no`)
      return known
    },
  }
}
