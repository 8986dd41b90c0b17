import { readFileSync } from 'node:fs'
import { type Duration, durationMs, durationProblem } from '../duration.js'
import { describeValue, SettingsError } from '../errors.js'
import { DEFAULT_PORT, parseAddresses, type ParsedUrl, parseUrl } from './address.js'
import { type Environment, misspelt, ownVariables, readSessionSettings } from './environment.js'
import { type GivenSettings, givenSettings } from './given-settings.js'
import { shown } from './setting-types.js'
import {
  type Pem,
  type RedisSettings,
  type ResolvedSentinel,
  type ResolvedSettings,
  type ResolvedTls,
  Secret,
  type SentinelOptions,
  type TlsOptions,
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

/** Settings of code and environment together, code first. Throws SettingsError with every problem. */
export function resolveSettings(given: RedisSettings = {}, variables: Environment = process.env): ResolvedSettings {
  const problems: string[] = []
  const warnings: string[] = []
  const asked = new Set<string>()
  const env = ownVariables(variables, warnings)
  const settings = givenSettings(given, env, problems, asked)
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

const URL_FIELDS = ['host', 'port', 'db', 'username', 'password'] as const

/** One line for all fields that do not count. */
function warnIgnored(settings: GivenSettings, isMemory: boolean, warnings: string[]): void {
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
  settings: GivenSettings,
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

function resolveNodes(settings: GivenSettings, read: Readers, problems: string[]): ResolvedSettings['nodes'] {
  const { url, host = 'localhost', clusterNodes } = settings
  const port = url === undefined ? (read.integer('port', 1, 65_535) ?? DEFAULT_PORT) : DEFAULT_PORT
  if (url !== undefined) return [{ host, port }]
  if (clusterNodes !== undefined) return parseAddresses('cluster.nodes', clusterNodes, DEFAULT_PORT, problems)
  if (host.trim() === '') problems.push(`${settings.nameOf('host')}: must not be empty`)
  return [{ host, port }]
}

function resolveIdentity(
  settings: GivenSettings,
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

function resolveRateLimit(settings: GivenSettings, read: Readers): ResolvedSettings['rateLimit'] {
  const limit = read.integer('rateLimitDefaultLimit', 0, RATE_LIMIT_MAX) ?? 0
  const windowMs = read.positive('rateLimitDefaultWindow')
  const { rateLimitFailClosed = false, rateLimitEmitHeaders = true, rateLimitIetfHeaders = true } = settings
  return {
    rate: limit === 0 ? undefined : { limit, windowMs },
    failClosed: rateLimitFailClosed,
    headers: rateLimitEmitHeaders ? (rateLimitIetfHeaders ? 'draft' : 'legacy') : 'none',
  }
}

const NEAR_MIN_BYTES = 1024 * 1024

/** One each for commands, wake-ups, and changes that Redis reports to a near cache. */
const NEAR_CONNECTIONS = 3

/** Bytes of the near cache. */
function resolveNear(
  { near, resp, maxConnections }: Pick<RedisSettings, 'near' | 'resp' | 'maxConnections'>,
  isMemory: boolean,
  problems: string[],
  warnings: string[],
): number | undefined {
  if (near === undefined) return undefined
  const { maxBytes } = near
  if (!Number.isInteger(maxBytes) || maxBytes < NEAR_MIN_BYTES)
    problems.push(`near.maxBytes: ${describeValue(maxBytes)} is not a whole number of at least ${NEAR_MIN_BYTES} bytes`)
  if (resp === 2) problems.push('near: Redis reports changes with RESP 3 only; remove resp: 2')
  if (maxConnections !== undefined && maxConnections < NEAR_CONNECTIONS)
    problems.push(`near: needs a separate connection; maxConnections must be at least ${NEAR_CONNECTIONS}`)
  if (isMemory) warnings.push('redwell: near is ignored, because the embedded store is already in memory')
  return isMemory ? undefined : maxBytes
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
function readersOf(settings: GivenSettings, problems: string[], warnings: string[]) {
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
function inCode(settings: GivenSettings, name: keyof RedisSettings): boolean {
  return settings.nameOf(name) === name
}

/** A text without a number in front may be a secret in the wrong place. */
function shownDuration(value: unknown): string {
  return typeof value === 'number' || (typeof value === 'string' && /^\s*-?\d/.test(value))
    ? `'${value}'`
    : shown(value)
}

const PREFIX_MAX = 64

/** Parts of redwell's own key names: a prefix with one of them could imitate another prefix's keys. */
const RESERVED_SEGMENTS = new Set([
  'entry',
  'lease',
  'group',
  'clock',
  'wake',
  'lives',
  'variants',
  'limit',
  'session',
  'subject',
  'operate',
  'history',
])

/** Why a text cannot be a prefix of keys, or undefined. */
export function prefixProblem(prefix: unknown): string | undefined {
  if (typeof prefix !== 'string' || !/^[A-Za-z0-9_.:-]+$/.test(prefix) || prefix.length > PREFIX_MAX) {
    return `'${String(prefix)}' is not 1 to ${PREFIX_MAX} of letters, digits, _ . - and :`
  }
  const segments = prefix.split(':')
  if (segments.includes('')) return `'${prefix}' has an empty part between colons`
  const reserved = segments.find((segment) => RESERVED_SEGMENTS.has(segment))
  return reserved === undefined ? undefined : `'${prefix}' has the part '${reserved}', which is reserved`
}
