import { DURATION_RULE, type Duration, durationMs } from '../duration.js'
import { SettingsError } from '../errors.js'
import { type Environment, readEnvironment } from './env.js'
import { Secret } from './secret.js'
import type { Address, RedisSettings, ResolvedSentinel, ResolvedSettings, ResolvedTls } from './settings.js'
import { DEFAULT_PORT, parseAddress, type ParsedUrl, parseUrl } from './url.js'

const DEFAULT_SENTINEL_PORT = 26_379
/** A request waits no longer than this for its cache; see budgets: a healthy command takes well under 1 ms. */
const DEFAULT_COMMAND_TIMEOUT_MS = 50
const DEFAULT_CONNECT_TIMEOUT_MS = 1000
const DEFAULT_SOCKET_TIMEOUT_MS = 3000
const PREFIX_MAX = 64
/** Parts of redwell's own key names: a prefix with one of them could imitate another prefix's keys. */
const RESERVED_SEGMENTS = new Set(['entry', 'lease', 'group', 'clock', 'wake'])

/** Settings of code and environment together, code first. Throws SettingsError with every problem. */
export function resolveSettings(given: RedisSettings = {}, env: Environment = process.env): ResolvedSettings {
  const problems: string[] = []
  const warnings: string[] = []
  const settings = merge(given, readEnvironment(env, problems))
  const url = settings.url === undefined || isMemory(settings.url) ? undefined : parseUrl(settings.url, problems)
  if (url !== undefined) warnIgnored(settings, warnings)
  const resolved: ResolvedSettings = {
    kind: resolveKind(settings, url, problems),
    nodes: url?.nodes ?? [resolveAddress(settings, problems)],
    ...resolveIdentity(settings, url, problems),
    credentials: settings.credentials,
    tls: resolveTls(settings.tls, url),
    sentinel: settings.sentinel === undefined ? undefined : resolveSentinel(settings.sentinel, problems),
    maxConnections: resolveInteger('maxConnections', settings.maxConnections, 1, Number.MAX_SAFE_INTEGER, problems),
    socketTimeoutMs: positive('socketTimeout', settings.socketTimeout, DEFAULT_SOCKET_TIMEOUT_MS, problems),
    connectTimeoutMs: positive('connectTimeout', settings.connectTimeout, DEFAULT_CONNECT_TIMEOUT_MS, problems),
    commandTimeoutMs: positive('commandTimeout', settings.commandTimeout, DEFAULT_COMMAND_TIMEOUT_MS, problems),
    resp: settings.resp ?? 3,
    prefix: resolvePrefix(settings.prefix ?? 'redwell', problems),
    defaultTtlMs: duration('defaultTtl', settings.defaultTtl, 0, problems),
    warnUnboundedCache: settings.warnUnboundedCache ?? true,
    otel: settings.otel ?? false,
    otelRedis: settings.otelRedis ?? false,
    client: settings.client,
    warnings,
  }
  if (problems.length > 0) throw new SettingsError(problems)
  return resolved
}

/** A URL in code also outranks the address fields of the environment, and fields in code the environment's URL. */
function merge(given: RedisSettings, env: RedisSettings): RedisSettings {
  const code = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as RedisSettings
  const names = ['host', 'port'] as const
  const own = code.url === undefined && (code.client !== undefined || names.some((name) => code[name] !== undefined))
  const base = own ? { ...env, url: undefined } : env
  return { ...base, ...code }
}

function isMemory(url: string): boolean {
  return url === 'memory:' || url === 'memory://'
}

const URL_FIELDS = ['host', 'port', 'db', 'username', 'password'] as const

function warnIgnored(settings: RedisSettings, warnings: string[]): void {
  const ignored = URL_FIELDS.filter((name) => settings[name] !== undefined)
  if (ignored.length > 0) warnings.push(`redwell: the URL says where Redis is; ignored: ${ignored.join(', ')}`)
}

function resolveKind(settings: RedisSettings, url: ParsedUrl | undefined, problems: string[]): ResolvedSettings['kind'] {
  const { cluster = false, sentinel } = settings
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

function resolveAddress(settings: RedisSettings, problems: string[]): Address {
  const port = resolveInteger('port', settings.port, 1, 65_535, problems) ?? DEFAULT_PORT
  return { host: settings.host ?? 'localhost', port }
}

function resolveIdentity(
  settings: RedisSettings,
  url: ParsedUrl | undefined,
  problems: string[],
): Pick<ResolvedSettings, 'db' | 'username' | 'password'> {
  const source = url ?? settings
  const db = resolveInteger('db', source.db, 0, Number.MAX_SAFE_INTEGER, problems) ?? 0
  if (db !== 0 && settings.cluster === true) problems.push('db: a cluster has database 0 only')
  if (settings.credentials !== undefined && source.password !== undefined) {
    problems.push('credentials and a password exclude each other; the provider gives both')
  }
  const password = source.password === undefined ? undefined : new Secret(source.password)
  return { db, username: source.username, password }
}

function resolveTls(tls: RedisSettings['tls'], url: ParsedUrl | undefined): ResolvedTls | undefined {
  if (url?.tls !== true && (tls === undefined || tls === false)) return undefined
  const options = typeof tls === 'object' ? tls : {}
  return {
    cert: options.cert,
    key: options.key === undefined ? undefined : new Secret(options.key.toString()),
    ca: options.ca,
    checkHostname: options.checkHostname ?? true,
  }
}

function resolveSentinel(sentinel: NonNullable<RedisSettings['sentinel']>, problems: string[]): ResolvedSentinel {
  const texts = typeof sentinel.nodes === 'string' ? sentinel.nodes.split(',').filter((text) => text.trim() !== '') : sentinel.nodes
  if (texts.length === 0) problems.push('sentinel: nodes (REDIS_SENTINEL_NODES) must name at least one host[:port]')
  const nodes = texts.map((text) => parseAddress(text, DEFAULT_SENTINEL_PORT, 'sentinel.nodes', problems))
  return {
    nodes: nodes.filter((node) => node !== undefined),
    masterName: sentinel.masterName ?? 'mymaster',
    username: sentinel.username,
    password: sentinel.password === undefined ? undefined : new Secret(sentinel.password),
  }
}

function resolveInteger(name: string, value: number | undefined, min: number, max: number, problems: string[]): number | undefined {
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
