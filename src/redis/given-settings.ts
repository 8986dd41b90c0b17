import { describeValue, isOptionsObject, SettingsError, unknownOptions } from '../errors.js'
import { type Environment, environmentReaders } from './environment.js'
import {
  type ClusterOptions,
  type RedisSettings,
  type SentinelOptions,
  type TlsOptions,
  withoutUndefined,
} from './settings.js'

/** `duration`: checked where it is used. `switch`: true, false or an object of options. `options`: such an object, or false. */
type Kind = 'string' | 'number' | 'boolean' | 'function' | 'duration' | 'object' | 'switch' | 'options'

/** Each setting: its type in code, for callers without a type checker, and its variable. */
const SETTINGS: Readonly<Record<keyof RedisSettings, readonly [kind: Kind, variable?: string]>> = {
  url: ['string', 'REDIS_URL'],
  host: ['string', 'REDIS_HOST'],
  port: ['number', 'REDIS_PORT'],
  db: ['number', 'REDIS_DB'],
  username: ['string', 'REDIS_USERNAME'],
  password: ['string', 'REDIS_PASSWORD'],
  credentials: ['function'],
  tls: ['switch'],
  cluster: ['switch'],
  sentinel: ['options'],
  maxConnections: ['number', 'REDIS_MAX_CONNECTIONS'],
  socketTimeout: ['duration', 'REDIS_SOCKET_TIMEOUT'],
  connectTimeout: ['duration', 'REDIS_SOCKET_CONNECT_TIMEOUT'],
  commandTimeout: ['duration'],
  invalidationTimeout: ['duration', 'REDIS_INVALIDATION_TIMEOUT'],
  waitForReplicas: ['number'],
  trustRestarts: ['boolean'],
  resp: ['number'],
  near: ['object'],
  prefix: ['string', 'REDIS_PREFIX'],
  application: ['string', 'REDIS_APPLICATION'],
  defaultTtl: ['duration', 'REDIS_DEFAULT_TTL'],
  warnUnboundedCache: ['boolean', 'REDIS_WARN_UNBOUNDED_CACHE'],
  otel: ['boolean', 'REDIS_OTEL_ENABLED'],
  otelRedis: ['boolean', 'REDIS_OTEL_REDIS_ENABLED'],
  rateLimitDefaultLimit: ['number', 'REDIS_RATE_LIMIT_DEFAULT_LIMIT'],
  rateLimitDefaultWindow: ['duration', 'REDIS_RATE_LIMIT_DEFAULT_WINDOW'],
  rateLimitFailClosed: ['boolean', 'REDIS_RATE_LIMIT_FAIL_CLOSED'],
  rateLimitEmitHeaders: ['boolean', 'REDIS_RATE_LIMIT_EMIT_HEADERS'],
  rateLimitIetfHeaders: ['boolean', 'REDIS_RATE_LIMIT_IETF_HEADERS'],
  operate: ['boolean', 'REDIS_OPERATE_ENABLED'],
  client: ['object'],
}

const MEMBERS = new Map([
  ['tls', ['cert', 'key', 'ca', 'checkHostname']],
  ['sentinel', ['nodes', 'masterName', 'username', 'password']],
  ['cluster', ['nodes']],
  ['near', ['maxBytes']],
])

/** The names of all settings. */
export const SETTING_NAMES: readonly string[] = Object.keys(SETTINGS)

/** The settings that code and the environment give, code first. Problems are about types and names alone. */
export function givenSettings(
  given: RedisSettings,
  env: Environment,
  problems: string[],
  asked: Set<string>,
): GivenSettings {
  return merge(checkTypes(given, problems), readEnvironment(env, problems, asked))
}

/** Settings without those of a wrong type or an unknown name. Shows no value but numbers: another may be a secret. */
function checkTypes(settings: RedisSettings, problems: string[]): RedisSettings {
  if (Object.keys(settings).some((name) => /^\d+$/.test(name)))
    throw new SettingsError(["settings must be an object, such as { url: 'redis://…' }, not a string"])
  problems.push(...unknownOptions(settings, SETTING_NAMES, false))
  for (const [name, members] of MEMBERS) {
    const given: unknown = Reflect.get(settings, name)
    if (typeof given !== 'object' || given === null) continue
    problems.push(...unknownOptions(given, members, false).map((problem) => `${name}.${problem}`))
  }
  const valid = Object.entries(SETTINGS).flatMap(([name, [kind]]) => {
    const value: unknown = Reflect.get(settings, name)
    const problem = value === undefined ? undefined : typeProblem(kind, value)
    if (problem !== undefined) problems.push(`${name}: ${problem}`)
    return problem === undefined ? [[name, value]] : []
  })
  return Object.fromEntries(valid)
}

function typeProblem(kind: Kind, value: unknown): string | undefined {
  if (kind === 'duration') return undefined
  if (kind === 'object' || kind === 'switch' || kind === 'options') return objectProblem(kind, value)
  if (typeof value === kind) return undefined
  return kind === 'number' ? `${shown(value)} is not a number` : `is not a ${kind}`
}

function objectProblem(kind: 'object' | 'switch' | 'options', value: unknown): string | undefined {
  if (isOptionsObject(value) || (kind !== 'object' && value === false) || (kind === 'switch' && value === true))
    return undefined
  const rule = { object: 'an object', switch: 'true, false or an object', options: 'an object or false' }[kind]
  const given = typeof value === 'object' ? describeValue(value) : shown(value)
  return `${given} must be ${rule}${given === 'a promise' ? '; await it first' : ''}`
}

/** A number in quotes, with its quotes; any other text may be a secret in the wrong place. */
export function shown(value: unknown): string {
  return typeof value === 'string' && /^\s*[\d.]*\s*$/.test(value) ? `the string '${value}'` : `a ${typeof value}`
}

/**
 * What the `REDIS_*` variables set. TLS files and sentinels count only where TLS and Sentinel are switched on. An empty
 * variable counts as one that is not set.
 */
function readEnvironment(env: Environment, problems: string[], asked: Set<string>) {
  const { text, number, duration, flag } = environmentReaders(env, problems, asked)
  const others = { function: text, object: text, switch: text, options: text }
  const readers = { string: text, number, duration, boolean: flag, ...others }
  const read = Object.entries(SETTINGS).flatMap(([name, [kind, variable]]) =>
    variable === undefined ? [] : [[name, readers[kind](variable)]],
  )
  const settings: Omit<RedisSettings, 'tls' | 'sentinel'> = Object.fromEntries(read)
  return {
    settings,
    cluster: flag('REDIS_CLUSTER'),
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

/** Settings of code and environment. `tls` and `sentinel` are there only where they are on. */
export interface GivenSettings extends Omit<RedisSettings, 'tls' | 'sentinel' | 'cluster'> {
  readonly tls: TlsOptions | undefined
  /** The environment's TLS files, for a URL that switches TLS on. */
  readonly tlsFiles: TlsOptions
  readonly sentinel: SentinelOptions | undefined
  readonly cluster: boolean
  readonly clusterNodes: ClusterOptions['nodes'] | undefined
  /** What a problem calls a setting: its variable where its value came from there. */
  readonly nameOf: (name: keyof RedisSettings) => string
}

/** A URL in code also outranks the address fields of the environment, and an address in code the environment's URL. */
function merge(given: RedisSettings, env: ReturnType<typeof readEnvironment>): GivenSettings {
  const { tls, sentinel, cluster, ...code } = withoutUndefined(given)
  const clusterNodes = typeof cluster === 'object' ? cluster.nodes : undefined
  const address = code.client ?? code.host ?? code.port ?? clusterNodes
  const base = code.url === undefined && address !== undefined ? { ...env.settings, url: undefined } : env.settings
  return {
    ...base,
    ...code,
    tls: either(tls, env.tlsOn, env.tls),
    tlsFiles: env.tls,
    sentinel: either(sentinel, env.sentinelOn, env.sentinel),
    cluster: cluster === undefined ? env.cluster === true : cluster !== false,
    clusterNodes,
    nameOf: (name) => (given[name] === undefined ? (SETTINGS[name][1] ?? name) : name),
  }
}

/** Options that code or the environment switches on; those that code leaves out are the environment's. */
function either<T extends object>(code: boolean | T | undefined, on: boolean | undefined, env: T): T | undefined {
  if (typeof code === 'object') return { ...env, ...withoutUndefined(code) }
  return (code ?? on) === true ? env : undefined
}
