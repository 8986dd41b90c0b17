import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { type Duration, DURATION_RULE, durationMs } from '../duration.js'
import { SettingsError } from '../errors.js'
import type {
  Address,
  ClusterOptions,
  Pem,
  RedisSettings,
  ResolvedSentinel,
  ResolvedSettings,
  ResolvedTls,
  SentinelOptions,
  TlsOptions,
} from './settings.js'

const MASK = '***'

/** Text that does not show itself: not in a string, JSON, an inspection or a log. */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  reveal(): string {
    return this.#text
  }

  toString(): string {
    return MASK
  }

  toJSON(): string {
    return MASK
  }

  [inspect.custom](): string {
    return MASK
  }
}

const AUTHORITY = /^([a-z][a-z0-9+.-]*:\/\/)?(?:(.*)@)?([^@/?#]*)(.*)$/is

const HOST = /^\s*(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{0,5})?\s*$/i

const DATABASE = /^(\/\d*)?$/

/**
 * What a message shows of an address that is wrong: its scheme and hosts. From the first text that is no host on it
 * shows nothing, because that may be a password whose `@host` was forgotten, commas and all.
 */
export function masked(text: string): string {
  const [, scheme = '', userinfo, list = '', rest = ''] = AUTHORITY.exec(text) ?? []
  const hosts = list.split(',')
  const wrong = hosts.findIndex((host) => !HOST.test(host))
  const shown = wrong === -1 ? list : [...hosts.slice(0, wrong), MASK].join(',')
  return `${scheme}${userinfo === undefined ? '' : `${MASK}@`}${shown}${DATABASE.test(rest) ? rest : '/…'}`
}

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
      invalidationTimeout: number('REDIS_INVALIDATION_TIMEOUT'),
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

/** Node-redis clients, functions and TLS material are looked at where they are used. */
const TYPES = {
  url: 'string',
  host: 'string',
  username: 'string',
  password: 'string',
  warnUnboundedCache: 'boolean',
  trustRestarts: 'boolean',
  otel: 'boolean',
  otelRedis: 'boolean',
  credentials: 'function',
} as const satisfies Partial<Record<keyof RedisSettings, 'string' | 'boolean' | 'function'>>

/** Settings without what has the wrong type, for callers without a type checker. Never shows a value: it may be a secret. */
export function withoutWrongTypes(settings: RedisSettings, problems: string[]): RedisSettings {
  const wrong = Object.entries(TYPES).filter(([name, type]) => {
    const value = settings[name as keyof typeof TYPES]
    return value !== undefined && typeof value !== type
  })
  for (const [name, type] of wrong) problems.push(`${name}: is not a ${type}`)
  const names = new Set(wrong.map(([name]) => name))
  return Object.fromEntries(Object.entries(settings).filter(([name]) => !names.has(name)))
}

export const DEFAULT_PORT = 6379

export interface ParsedUrl {
  readonly nodes: readonly Address[]
  readonly tls: boolean
  readonly db: number | undefined
  readonly username: string | undefined
  readonly password: string | undefined
}

const SHAPE = /^(rediss?):\/\/(?:([^@/]*)@)?([^/?#]+)(?:\/(\d*))?\/?$/i

/**
 * `redis[s]://[[username]:password@]host[:port][,host[:port]…][/db]`. The WHATWG parser refuses several hosts, so the
 * shape is read here and each host by it. Problems never show the credentials.
 */
export function parseUrl(url: string, problems: string[]): ParsedUrl | undefined {
  const match = SHAPE.exec(url)
  if (match === null) {
    problems.push(`url: '${masked(url)}' is not redis://[[username]:password@]host[:port][/db], rediss://… or memory:`)
    return undefined
  }
  const [, scheme, userinfo, hosts, db] = match as unknown as [
    string,
    string,
    string | undefined,
    string,
    string | undefined,
  ]
  const nodes = parseAddresses(hosts, DEFAULT_PORT, 'url', problems)
  return {
    nodes,
    tls: scheme.toLowerCase() === 'rediss',
    db: db === undefined || db === '' ? undefined : Number(db),
    ...parseUserinfo(userinfo, problems),
  }
}

function parseUserinfo(userinfo: string | undefined, problems: string[]): Pick<ParsedUrl, 'username' | 'password'> {
  if (userinfo === undefined || userinfo === '') return { username: undefined, password: undefined }
  const colon = userinfo.indexOf(':')
  try {
    const username = decodeURIComponent(colon === -1 ? userinfo : userinfo.slice(0, colon))
    const password = colon === -1 ? undefined : decodeURIComponent(userinfo.slice(colon + 1))
    return { username: username === '' ? undefined : username, password }
  } catch {
    problems.push('url: its username or password is not percent-encoded properly')
    return { username: undefined, password: undefined }
  }
}

/** A list of nodes, or one text with commas between them; one problem for the whole list. */
export function parseAddresses(
  list: string | readonly string[],
  defaultPort: number,
  name: string,
  problems: string[],
): readonly Address[] {
  const texts = (typeof list === 'string' ? list.split(',') : list).filter((text) => text.trim() !== '')
  const nodes = texts.map((text) => parseAddress(text, defaultPort)).filter((node) => node !== undefined)
  if (texts.length === 0) problems.push(`${name} must name at least one host[:port]`)
  else if (nodes.length < texts.length) problems.push(`${name}: '${masked(texts.join(','))}' is not host[:port]`)
  return nodes
}

/** `host`, `host:port`, `[ipv6]:port`. */
function parseAddress(text: string, defaultPort: number): Address | undefined {
  try {
    const url = new URL(`http://${text.trim()}`)
    const port = url.port === '' ? defaultPortOf(text, defaultPort) : Number(url.port)
    const bare = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === ''
    if (!bare || url.password !== '' || url.hostname === '' || port === 0) return undefined
    return { host: url.hostname.replace(/^\[|\]$/g, ''), port }
  } catch {
    return undefined
  }
}

/** The WHATWG parser drops port 80 as the default of its scheme. */
function defaultPortOf(text: string, defaultPort: number): number {
  return text.trim().endsWith(':80') ? 80 : defaultPort
}

/** Reads the files now, so that a wrong path is an error of the settings and not of the first connection. */
export function resolveTls(options: TlsOptions, problems: string[]): ResolvedTls {
  const key = readPem('tls.key (REDIS_SSL_KEYFILE)', options.key, problems)
  if ((options.key === undefined) !== (options.cert === undefined)) {
    problems.push('tls: a client certificate needs both cert (REDIS_SSL_CERTFILE) and key (REDIS_SSL_KEYFILE)')
  }
  return {
    cert: readPem('tls.cert (REDIS_SSL_CERTFILE)', options.cert, problems),
    key: key === undefined ? undefined : new Secret(key.toString()),
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
    problems.push(
      `${name}: the file '${pem}' cannot be read (${(error as NodeJS.ErrnoException).code ?? 'no file name'})`,
    )
    return undefined
  }
}

const DEFAULT_SENTINEL_PORT = 26_379

/** A request waits no longer than this for its cache; see budgets: a healthy command takes well under 1 ms. */
const DEFAULT_COMMAND_TIMEOUT_MS = 50

/** Longer: a reader behind it would be shown the old answer, and the write has been made. */
const DEFAULT_INVALIDATION_TIMEOUT_MS = 1000

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
): Pick<ResolvedSettings, 'socketTimeoutMs' | 'connectTimeoutMs' | 'commandTimeoutMs' | 'invalidationTimeoutMs'> {
  const socketMs = kind === 'cluster' ? CLUSTER_SOCKET_TIMEOUT_MS : DEFAULT_SOCKET_TIMEOUT_MS
  return {
    socketTimeoutMs: positive('socketTimeout', settings.socketTimeout, socketMs, problems),
    connectTimeoutMs: positive('connectTimeout', settings.connectTimeout, DEFAULT_CONNECT_TIMEOUT_MS, problems),
    commandTimeoutMs: positive('commandTimeout', settings.commandTimeout, DEFAULT_COMMAND_TIMEOUT_MS, problems),
    invalidationTimeoutMs: positive(
      'invalidationTimeout',
      settings.invalidationTimeout,
      DEFAULT_INVALIDATION_TIMEOUT_MS,
      problems,
    ),
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
