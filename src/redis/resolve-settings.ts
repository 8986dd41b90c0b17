import { readFileSync } from 'node:fs'
import { type Duration, durationMs, durationProblem } from '../duration.js'
import { describeValue, isOptionsObject, SettingsError, unknownOptions } from '../errors.js'
import { type Environment, environmentReaders, misspelt, ownVariables, readSessionSettings } from './environment.js'
import { prefixProblem } from './prefix.js'
import {
  type ClusterOptions,
  DEFAULT_PORT,
  parseAddresses,
  type ParsedUrl,
  parseUrl,
  type Pem,
  type RedisSettings,
  type ResolvedSentinel,
  type ResolvedSettings,
  type ResolvedTls,
  resolveNear,
  Secret,
  type SentinelOptions,
  type TlsOptions,
  withoutUndefined,
} from './settings.js'

const DEFAULT_SENTINEL_PORT = 26_379

const DEFAULT_MS = {
  socketTimeout: 3000,
  /** Shorter: while one node hangs its slots have no service, even when a replica was promoted long ago. */
  socketTimeoutOfCluster: 1500,
  connectTimeout: 1000,
  /** A healthy command takes well under 1 ms; a request should not wait much longer for its cache than for its handler. */
  commandTimeout: 50,
  /** Longer than for a read: until an invalidation is confirmed, readers may be given the old answer. */
  invalidationTimeout: 1000,
  rateLimitDefaultWindow: 60_000,
}

/** A larger number is probably a time-out in the wrong place. */
const REPLICAS_MAX = 100

const RATE_LIMIT_MAX = 1e9 // See src/limit/rate.ts.

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

/** Settings of code and environment together, code first. Throws SettingsError with every problem. */
export function resolveSettings(given: RedisSettings = {}, variables: Environment = process.env): ResolvedSettings {
  const problems: string[] = []
  const warnings: string[] = []
  const asked = new Set<string>()
  const env = ownVariables(variables, warnings)
  const settings = merge(checkTypes(given, problems), readEnvironment(env, problems, asked))
  const read = readersOf(settings, problems, warnings)
  const isMemory = settings.url === 'memory:' || settings.url === 'memory://'
  const url =
    settings.url === undefined || isMemory ? undefined : parseUrl(settings.nameOf('url'), settings.url, problems)
  const kind = resolveKind(settings, url, isMemory, problems)
  const nodes = resolveNodes(settings, read, problems)
  const resolved: ResolvedSettings = {
    kind,
    nodes: url?.nodes ?? nodes,
    ...resolveIdentity(settings, url, read, problems),
    credentials: settings.credentials,
    tls:
      url?.tls === true || settings.tls !== undefined
        ? resolveTls(settings.tls ?? settings.tlsFiles, problems)
        : undefined,
    sentinel: settings.sentinel === undefined ? undefined : resolveSentinel(settings.sentinel, problems),
    maxConnections: read.integer('maxConnections', 1),
    socketTimeoutMs: read.positive(
      'socketTimeout',
      kind === 'cluster' ? DEFAULT_MS.socketTimeoutOfCluster : DEFAULT_MS.socketTimeout,
    ),
    connectTimeoutMs: read.positive('connectTimeout'),
    commandTimeoutMs: read.positive('commandTimeout'),
    invalidationTimeoutMs: read.positive('invalidationTimeout'),
    waitForReplicas: read.integer('waitForReplicas', 0, REPLICAS_MAX) ?? 0,
    trustRestarts: settings.trustRestarts ?? false,
    resp: read.integer('resp', 2, 3) === 2 ? 2 : 3,
    nearBytes: resolveNear(settings, isMemory, problems, warnings),
    prefix: settings.prefix ?? 'redwell',
    application: settings.application,
    defaultTtlMs: read.duration('defaultTtl', 0),
    warnUnboundedCache: settings.warnUnboundedCache ?? true,
    otel: settings.otel ?? false,
    otelRedis: settings.otelRedis ?? false,
    rateLimit: resolveRateLimit(settings, read),
    sessions: readSessionSettings(env, problems, asked),
    operate: settings.operate ?? true,
    client: settings.client,
    warnings,
  }
  const problem = prefixProblem(resolved.prefix)
  if (problem !== undefined) problems.push(`${settings.nameOf('prefix')}: ${problem}`)
  if (settings.application?.trim() === '') problems.push(`${settings.nameOf('application')}: must not be empty`)
  warnIgnored(settings, isMemory, warnings)
  warnings.push(...misspelt(env, asked))
  if (problems.length > 0) throw new SettingsError(problems)
  return resolved
}

/** Settings without those of a wrong type or an unknown name. Shows no value but numbers: another may be a secret. */
function checkTypes(settings: RedisSettings, problems: string[]): RedisSettings {
  if (Object.keys(settings).some((name) => /^\d+$/.test(name)))
    throw new SettingsError(["settings must be an object, such as { url: 'redis://…' }, not a string"])
  problems.push(...unknownOptions(settings, Object.keys(SETTINGS), false))
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
function shown(value: unknown): string {
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
interface Merged extends Omit<RedisSettings, 'tls' | 'sentinel' | 'cluster'> {
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
function merge(given: RedisSettings, env: ReturnType<typeof readEnvironment>): Merged {
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

const URL_FIELDS = ['host', 'port', 'db', 'username', 'password'] as const

/** One line for all fields that do not count. */
function warnIgnored(settings: Merged, isMemory: boolean, warnings: string[]): void {
  const nodes = settings.clusterNodes === undefined ? [] : ['cluster.nodes']
  const given = (names: readonly (typeof URL_FIELDS)[number][]) => names.filter((name) => settings[name] !== undefined)
  if (settings.url !== undefined && !isMemory) {
    const ignored = [...given(URL_FIELDS), ...nodes]
    if (ignored.length > 0) warnings.push(`redwell: the URL contains the address; ignored: ${ignored.join(', ')}`)
  } else if (nodes.length > 0 && settings.url === undefined) {
    const ignored = given(['host', 'port'])
    if (ignored.length > 0)
      warnings.push(`redwell: cluster.nodes contains the addresses; ignored: ${ignored.join(', ')}`)
  }
}

function resolveKind(
  settings: Merged,
  url: ParsedUrl | undefined,
  isMemory: boolean,
  problems: string[],
): ResolvedSettings['kind'] {
  const { cluster, sentinel } = settings
  const name = settings.nameOf('url')
  if (cluster && sentinel !== undefined) problems.push('cluster and sentinel cannot be combined')
  if (settings.url !== undefined && sentinel !== undefined)
    problems.push('a URL and sentinel cannot be combined: the sentinels report the master')
  if (!cluster && url !== undefined && url.nodes.length > 1)
    problems.push(`${name}: several nodes require cluster: true (REDIS_CLUSTER)`)
  if (isMemory && cluster) problems.push(`${name}: memory: is an embedded store and cannot be a cluster`)
  if (isMemory) return 'memory'
  return cluster ? 'cluster' : sentinel === undefined ? 'standalone' : 'sentinel'
}

function resolveNodes(settings: Merged, read: Readers, problems: string[]): ResolvedSettings['nodes'] {
  const { url, host = 'localhost', clusterNodes } = settings
  const port = url === undefined ? (read.integer('port', 1, 65_535) ?? DEFAULT_PORT) : DEFAULT_PORT
  if (url !== undefined) return [{ host, port }]
  if (clusterNodes !== undefined) return parseAddresses('cluster.nodes', clusterNodes, DEFAULT_PORT, problems)
  if (host.trim() === '') problems.push(`${settings.nameOf('host')}: must not be empty`)
  return [{ host, port }]
}

function resolveIdentity(
  settings: Merged,
  url: ParsedUrl | undefined,
  read: Readers,
  problems: string[],
): Pick<ResolvedSettings, 'db' | 'username' | 'password'> {
  const { username, password } = url ?? settings
  const db = (url === undefined ? read.integer('db', 0) : url.db) ?? 0
  if (db !== 0 && settings.cluster) problems.push('db: a cluster has only database 0')
  if (settings.credentials !== undefined && password !== undefined)
    problems.push('credentials and a password cannot be combined; the provider returns both')
  return { db, username, password: secretOf(password) }
}

function secretOf(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text)
}

function resolveRateLimit(settings: Merged, read: Readers): ResolvedSettings['rateLimit'] {
  const limit = read.integer('rateLimitDefaultLimit', 0, RATE_LIMIT_MAX) ?? 0
  const windowMs = read.positive('rateLimitDefaultWindow')
  const { rateLimitFailClosed = false, rateLimitEmitHeaders = true, rateLimitIetfHeaders = true } = settings
  return {
    rate: limit === 0 ? undefined : { limit, windowMs },
    failClosed: rateLimitFailClosed,
    headers: rateLimitEmitHeaders ? (rateLimitIetfHeaders ? 'draft' : 'legacy') : 'none',
  }
}

function resolveSentinel(sentinel: SentinelOptions, problems: string[]): ResolvedSentinel {
  const { nodes = '', masterName = 'mymaster', username, password } = sentinel
  return {
    nodes: parseAddresses('sentinel.nodes (REDIS_SENTINEL_NODES)', nodes, DEFAULT_SENTINEL_PORT, problems),
    masterName,
    username,
    password: secretOf(password),
  }
}

/** Reads the files now, so that a wrong path is an error of the settings and not of the first connection. */
function resolveTls(options: TlsOptions, problems: string[]): ResolvedTls {
  const key = readPem('tls.key (REDIS_SSL_KEYFILE)', options.key, problems)
  if ((options.key === undefined) !== (options.cert === undefined))
    problems.push('tls: a client certificate needs both cert (REDIS_SSL_CERTFILE) and key (REDIS_SSL_KEYFILE)')
  return {
    cert: readPem('tls.cert (REDIS_SSL_CERTFILE)', options.cert, problems),
    key: secretOf(key?.toString()),
    ca: readPem('tls.ca (REDIS_SSL_CA_CERTS)', options.ca, problems),
    checkHostname: options.checkHostname ?? true,
  }
}

/** PEM text or bytes as they are; any other text is the path of a file. */
function readPem(name: string, pem: Pem | undefined, problems: string[]): Pem | undefined {
  if (typeof pem !== 'string' || pem.includes('-----BEGIN')) return pem
  try {
    return readFileSync(pem)
  } catch (error) {
    const code = error instanceof Error ? Reflect.get(error, 'code') : undefined
    problems.push(`${name}: the file '${pem}' cannot be read (${String(code ?? 'no file name')})`)
    return undefined
  }
}

type NumberName = 'port' | 'db' | 'maxConnections' | 'waitForReplicas' | 'resp' | 'rateLimitDefaultLimit'

type PositiveName = Exclude<keyof typeof DEFAULT_MS, 'socketTimeoutOfCluster'>

type Readers = ReturnType<typeof readersOf>

/** Reads settings within their limits; a problem names the variable or the field that the value came from. */
function readersOf(settings: Merged, problems: string[], warnings: string[]) {
  const refuse = (name: keyof RedisSettings, why: string): void =>
    void problems.push(`${settings.nameOf(name)}: ${why}`)
  const duration = (name: PositiveName | 'defaultTtl', defaultMs: number): number => {
    const value: Duration | undefined = settings[name]
    const ms = value === undefined ? defaultMs : durationMs(value)
    if (ms === undefined) refuse(name, durationProblem(value, shownDuration(value)))
    return ms ?? defaultMs
  }
  return {
    duration,
    integer(name: NumberName, min: number, max = Number.MAX_SAFE_INTEGER): number | undefined {
      const value = settings[name]
      if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return value
      const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
      refuse(name, `${value} is not a whole number ${range}`)
      return undefined
    },
    positive(name: PositiveName, defaultMs = DEFAULT_MS[name]): number {
      const ms = duration(name, defaultMs)
      const value = settings[name]
      if (ms === 0) refuse(name, 'must be more than 0')
      // Milliseconds are what most other libraries count in.
      if (typeof value === 'number' && ms >= MANY_TIMES * DEFAULT_MS[name] && name !== 'rateLimitDefaultWindow')
        warnings.push(
          `redwell: ${settings.nameOf(name)}: ${value} is a number of seconds; ${value} milliseconds are ${inCode(settings, name) ? `'${value}ms'` : value / 1000}`,
        )
      return ms
    },
  }
}

/** A time-out this many times its default was probably not meant in seconds. */
const MANY_TIMES = 200

/** Whether a setting was written in code, where it has the unit of a duration. */
function inCode(settings: Merged, name: keyof RedisSettings): boolean {
  return settings.nameOf(name) === name
}

/** A text without a number in front may be a secret in the wrong place. */
function shownDuration(value: unknown): string {
  return typeof value === 'number' || (typeof value === 'string' && /^\s*-?\d/.test(value))
    ? `'${value}'`
    : shown(value)
}
