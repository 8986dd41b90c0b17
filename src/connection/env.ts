import type { RedisSettings, SentinelOptions, TlsOptions } from './settings.js'

export type Environment = Readonly<Record<string, string | undefined>>

const BOOLEANS: Readonly<Record<string, boolean>> = { true: true, false: false, '1': true, '0': false, yes: true, no: false }

/** The settings that the `REDIS_*` variables give. An empty variable is one that is not set; unknown ones are ignored. */
export function readEnvironment(env: Environment, problems: string[]): RedisSettings {
  const text = (name: string): string | undefined => (env[name] === '' ? undefined : env[name])
  const number = (name: string): number | undefined => {
    const value = text(name)
    if (value === undefined) return undefined
    if (/^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/.test(value)) return Number(value)
    problems.push(`${name}: '${value}' is not a number`)
    return undefined
  }
  const flag = (name: string): boolean | undefined => {
    const value = text(name)
    if (value === undefined) return undefined
    const known = BOOLEANS[value.trim().toLowerCase()]
    if (known === undefined) problems.push(`${name}: '${value}' is not one of true, false, 1, 0, yes, no`)
    return known
  }
  return {
    url: text('REDIS_URL'),
    host: text('REDIS_HOST'),
    port: number('REDIS_PORT'),
    db: number('REDIS_DB'),
    username: text('REDIS_USERNAME'),
    password: text('REDIS_PASSWORD'),
    tls: readTls(flag('REDIS_SSL'), text, flag('REDIS_SSL_CHECK_HOSTNAME')),
    maxConnections: number('REDIS_MAX_CONNECTIONS'),
    socketTimeout: number('REDIS_SOCKET_TIMEOUT'),
    connectTimeout: number('REDIS_SOCKET_CONNECT_TIMEOUT'),
    cluster: flag('REDIS_CLUSTER'),
    sentinel: flag('REDIS_SENTINEL') === true ? readSentinel(text) : undefined,
    prefix: text('REDIS_PREFIX'),
    defaultTtl: number('REDIS_DEFAULT_TTL'),
    warnUnboundedCache: flag('REDIS_WARN_UNBOUNDED_CACHE'),
    otel: flag('REDIS_OTEL_ENABLED'),
    otelRedis: flag('REDIS_OTEL_REDIS_ENABLED'),
  }
}

type Text = (name: string) => string | undefined

/** The files matter only where TLS is on: by `REDIS_SSL`, or by a `rediss:` URL. */
function readTls(on: boolean | undefined, text: Text, checkHostname: boolean | undefined): boolean | TlsOptions | undefined {
  const secure = on ?? text('REDIS_URL')?.toLowerCase().startsWith('rediss:')
  if (secure !== true) return on
  return {
    cert: text('REDIS_SSL_CERTFILE'),
    key: text('REDIS_SSL_KEYFILE'),
    ca: text('REDIS_SSL_CA_CERTS'),
    checkHostname,
  }
}

function readSentinel(text: Text): SentinelOptions {
  return {
    nodes: text('REDIS_SENTINEL_NODES') ?? '',
    masterName: text('REDIS_SENTINEL_MASTER_NAME'),
    username: text('REDIS_SENTINEL_USERNAME'),
    password: text('REDIS_SENTINEL_PASSWORD'),
  }
}
