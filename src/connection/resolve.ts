import { DURATION_RULE, type Duration, durationMs } from '../duration.js'
import { SettingsError } from '../errors.js'
import { withoutWrongTypes } from './check-types.js'
import { type Environment, type FromEnvironment, readEnvironment } from './env.js'
import { Secret } from './secret.js'
import type {
  Address,
  ClusterOptions,
  RedisSettings,
  ResolvedSentinel,
  ResolvedSettings,
  SentinelOptions,
  TlsOptions,
} from './settings.js'
import { resolveTls } from './tls.js'
import { DEFAULT_PORT, parseAddresses, type ParsedUrl, parseUrl } from './url.js'

const DEFAULT_SENTINEL_PORT = 26_379
/** A request waits no longer than this for its cache; see budgets: a healthy command takes well under 1 ms. */
const DEFAULT_COMMAND_TIMEOUT_MS = 50
const DEFAULT_CONNECT_TIMEOUT_MS = 1000
const DEFAULT_SOCKET_TIMEOUT_MS = 3000
/** Shorter: while one node hangs its slots have no service, even when a replica was promoted long ago. */
const CLUSTER_SOCKET_TIMEOUT_MS = 1500
const PREFIX_MAX = 64
/** More than anybody runs; a larger number is a time-out written in the wrong place. */
const REPLICAS_MAX = 100
/** Parts of redwell's own key names: a prefix with one of them could imitate another prefix's keys. */
const RESERVED_SEGMENTS = new Set(['entry', 'lease', 'group', 'clock', 'wake', 'lives', 'variants'])

/** Settings of code and environment together, code first. Throws SettingsError with every problem. */
export function resolveSettings(given: RedisSettings = {}, env: Environment = process.env): ResolvedSettings {
  const problems: string[] = []
  const warnings: string[] = []
  const settings = merge(withoutWrongTypes(given, problems), readEnvironment(env, problems))
  const url = settings.url === undefined || isMemory(settings.url) ? undefined : parseUrl(settings.url, problems)
  const kind = resolveKind(settings, url, problems)
  const resolved: ResolvedSettings = {
    kind,
    nodes: url?.nodes ?? resolveNodes(settings, problems),
    ...resolveIdentity(settings, url, problems),
    credentials: settings.credentials,
    tls:
      url?.tls === true || settings.tls !== undefined
        ? resolveTls(settings.tls ?? settings.tlsFiles, problems)
        : undefined,
    sentinel: settings.sentinel === undefined ? undefined : resolveSentinel(settings.sentinel, problems),
    maxConnections: resolveInteger('maxConnections', settings.maxConnections, 1, Number.MAX_SAFE_INTEGER, problems),
    ...resolveTimes(settings, kind, problems),
    waitForReplicas: resolveInteger('waitForReplicas', settings.waitForReplicas, 0, REPLICAS_MAX, problems) ?? 0,
    trustRestarts: settings.trustRestarts ?? false,
    resp: resolveProtocol(settings.resp, problems),
    prefix: resolvePrefix(settings.prefix ?? 'redwell', problems),
    defaultTtlMs: duration('defaultTtl', settings.defaultTtl, 0, problems),
    warnUnboundedCache: settings.warnUnboundedCache ?? true,
    otel: settings.otel ?? false,
    otelRedis: settings.otelRedis ?? false,
    client: settings.client,
    warnings,
  }
  warnIgnored(settings, warnings)
  if (problems.length > 0) throw new SettingsError(problems)
  return resolved
}

/** Of code and environment together. `tls` and `sentinel` are there only where they are on. */
interface Merged extends Omit<RedisSettings, 'tls' | 'sentinel' | 'cluster'> {
  readonly tls: TlsOptions | undefined
  /** What the environment says about TLS, for a URL that switches it on. */
  readonly tlsFiles: TlsOptions
  readonly sentinel: SentinelOptions | undefined
  readonly cluster: boolean
  readonly clusterNodes: ClusterOptions['nodes'] | undefined
}

/** A URL in code also outranks the address fields of the environment, and an address in code the environment's URL. */
function merge(given: RedisSettings, env: FromEnvironment): Merged {
  const { tls, sentinel, cluster, ...code } = defined(given)
  const clusterNodes = typeof cluster === 'object' ? cluster.nodes : undefined
  const address = code.client ?? code.host ?? code.port ?? clusterNodes
  const base = code.url === undefined && address !== undefined ? { ...env.settings, url: undefined } : env.settings
  return {
    ...base,
    ...code,
    tls: either(tls, env.tlsOn, env.tls),
    tlsFiles: env.tls,
    sentinel: either(sentinel, env.sentinelOn, env.sentinel),
    cluster: cluster === undefined ? env.settings.cluster === true : cluster !== false,
    clusterNodes,
  }
}

/** Options that code or the environment switches on; those that code leaves out are the environment's. */
function either<T extends object>(code: boolean | T | undefined, on: boolean | undefined, env: T): T | undefined {
  if (typeof code === 'object') return { ...env, ...defined(code) }
  return (code ?? on) === true ? env : undefined
}

function defined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}

function isMemory(url: string): boolean {
  return url === 'memory:' || url === 'memory://'
}

const URL_FIELDS = ['host', 'port', 'db', 'username', 'password'] as const

/** One line for all fields that do not count. */
function warnIgnored(settings: Merged, warnings: string[]): void {
  const nodes = settings.clusterNodes === undefined ? [] : ['cluster.nodes']
  const given = (names: readonly (typeof URL_FIELDS)[number][]) => names.filter((name) => settings[name] !== undefined)
  if (settings.url !== undefined && !isMemory(settings.url)) {
    const ignored = [...given(URL_FIELDS), ...nodes]
    if (ignored.length > 0) warnings.push(`redwell: the URL says where Redis is; ignored: ${ignored.join(', ')}`)
  } else if (nodes.length > 0 && settings.url === undefined) {
    const ignored = given(['host', 'port'])
    if (ignored.length > 0) warnings.push(`redwell: cluster.nodes say where Redis is; ignored: ${ignored.join(', ')}`)
  }
}

function resolveKind(settings: Merged, url: ParsedUrl | undefined, problems: string[]): ResolvedSettings['kind'] {
  const { cluster, sentinel } = settings
  if (cluster && sentinel !== undefined) problems.push('cluster and sentinel exclude each other; choose one')
  if (settings.url !== undefined && sentinel !== undefined) {
    problems.push('a URL and sentinel exclude each other: the sentinels tell where the master is')
  }
  if (!cluster && url !== undefined && url.nodes.length > 1) {
    problems.push('url: several nodes need cluster: true (REDIS_CLUSTER)')
  }
  if (settings.url !== undefined && isMemory(settings.url)) {
    if (cluster) problems.push('url: memory: is one embedded store; it has no cluster')
    return 'memory'
  }
  return cluster ? 'cluster' : sentinel !== undefined ? 'sentinel' : 'standalone'
}

function resolveNodes(settings: Merged, problems: string[]): readonly Address[] {
  const { host = 'localhost', clusterNodes } = settings
  const port = resolveInteger('port', settings.port, 1, 65_535, problems) ?? DEFAULT_PORT
  if (clusterNodes !== undefined) return parseAddresses(clusterNodes, DEFAULT_PORT, 'cluster.nodes', problems)
  if (host.trim() === '') problems.push('host: must not be empty')
  return [{ host, port }]
}

function resolveIdentity(
  settings: Merged,
  url: ParsedUrl | undefined,
  problems: string[],
): Pick<ResolvedSettings, 'db' | 'username' | 'password'> {
  const source = url ?? settings
  const db = resolveInteger('db', source.db, 0, Number.MAX_SAFE_INTEGER, problems) ?? 0
  if (db !== 0 && settings.cluster) problems.push('db: a cluster has database 0 only')
  if (settings.credentials !== undefined && source.password !== undefined) {
    problems.push('credentials and a password exclude each other; the provider gives both')
  }
  const password = source.password === undefined ? undefined : new Secret(source.password)
  return { db, username: source.username, password }
}

function resolveSentinel(sentinel: SentinelOptions, problems: string[]): ResolvedSentinel {
  return {
    nodes: parseAddresses(
      sentinel.nodes ?? '',
      DEFAULT_SENTINEL_PORT,
      'sentinel.nodes (REDIS_SENTINEL_NODES)',
      problems,
    ),
    masterName: sentinel.masterName ?? 'mymaster',
    username: sentinel.username,
    password: sentinel.password === undefined ? undefined : new Secret(sentinel.password),
  }
}

function resolveTimes(
  settings: Merged,
  kind: ResolvedSettings['kind'],
  problems: string[],
): Pick<ResolvedSettings, 'socketTimeoutMs' | 'connectTimeoutMs' | 'commandTimeoutMs'> {
  const socketMs = kind === 'cluster' ? CLUSTER_SOCKET_TIMEOUT_MS : DEFAULT_SOCKET_TIMEOUT_MS
  return {
    socketTimeoutMs: positive('socketTimeout', settings.socketTimeout, socketMs, problems),
    connectTimeoutMs: positive('connectTimeout', settings.connectTimeout, DEFAULT_CONNECT_TIMEOUT_MS, problems),
    commandTimeoutMs: positive('commandTimeout', settings.commandTimeout, DEFAULT_COMMAND_TIMEOUT_MS, problems),
  }
}

function resolveProtocol(resp: number | undefined, problems: string[]): 2 | 3 {
  if (resp !== undefined && resp !== 2 && resp !== 3) problems.push('resp: is neither 2 nor 3')
  return resp === 2 ? 2 : 3
}

function resolveInteger(
  name: string,
  value: number | undefined,
  min: number,
  max: number,
  problems: string[],
): number | undefined {
  if (value === undefined) return undefined
  if (Number.isInteger(value) && value >= min && value <= max) return value
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  problems.push(`${name}: ${value} is not a whole number ${range}`)
  return undefined
}

function duration(name: string, value: Duration | undefined, defaultMs: number, problems: string[]): number {
  if (value === undefined) return defaultMs
  const ms = durationMs(value)
  if (ms === undefined) problems.push(`${name}: '${value}' is not a duration; give ${DURATION_RULE}`)
  return ms ?? defaultMs
}

function positive(name: string, value: Duration | undefined, defaultMs: number, problems: string[]): number {
  const ms = duration(name, value, defaultMs, problems)
  if (ms === 0) problems.push(`${name}: must be more than 0`)
  return ms
}

function resolvePrefix(prefix: string, problems: string[]): string {
  const problem = prefixProblem(prefix)
  if (problem !== undefined) problems.push(`prefix: ${problem}`)
  return prefix
}

/** Why a text cannot be a prefix of keys, or undefined. */
export function prefixProblem(prefix: unknown): string | undefined {
  if (typeof prefix !== 'string' || !/^[A-Za-z0-9_.:-]+$/.test(prefix) || prefix.length > PREFIX_MAX) {
    return `'${String(prefix)}' is not 1 to ${PREFIX_MAX} of letters, digits, _ . - and :`
  }
  const segments = prefix.split(':')
  if (segments.includes('')) return `'${prefix}' has an empty part between colons`
  const reserved = segments.find((segment) => RESERVED_SEGMENTS.has(segment))
  return reserved === undefined ? undefined : `'${prefix}' has the part '${reserved}', which is one of redwell's own`
}
