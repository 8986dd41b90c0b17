import type { RedisClientType, RedisClusterType, RedisSentinelType } from '@redis/client'
import { inspect } from 'node:util'
import type { Duration } from '../duration.js'

/** A node-redis client of any modules and protocol. */
export type NodeRedis = RedisClientType | RedisClusterType | RedisSentinelType

const MASK = '***'

/** A text that is masked in strings, JSON, inspections and logs. */
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

/** Where TLS material comes from: a PEM text or its bytes, or the path of a file that holds it. */
export type Pem = string | Buffer

export interface TlsOptions {
  /** Client certificate. */
  cert?: Pem | undefined
  /** Key of the client certificate. */
  key?: Pem | undefined
  /** Certificates of the authorities to trust, in place of Node's own. */
  ca?: Pem | undefined
  /** Whether the server's certificate must be for the host name. Default true. */
  checkHostname?: boolean | undefined
}

export interface SentinelOptions {
  /** `host` or `host:port`, in a list or separated by commas; default port 26379. Default: `REDIS_SENTINEL_NODES`. */
  nodes?: string | readonly string[] | undefined
  /** Default `mymaster`. */
  masterName?: string | undefined
  /** Credentials of the sentinels themselves, never sent to the master. */
  username?: string | undefined
  password?: string | undefined
}

export interface ClusterOptions {
  /** `host` or `host:port`, in a list or separated by commas: where discovery begins. Default port 6379. */
  nodes: string | readonly string[]
}

export interface Credentials {
  username?: string | undefined
  password: string
}

/** Where Redis is and how it is used. Whatever is left out comes from the `REDIS_*` variables. */
export interface RedisSettings {
  /** `redis://`, `rediss://` (TLS), several nodes separated by commas for a cluster, or `memory:` for the embedded store. */
  url?: string | undefined
  /** Default `localhost`. */
  host?: string | undefined
  /** 1 to 65535. Default 6379. */
  port?: number | undefined
  /** Database number. Default 0. */
  db?: number | undefined
  username?: string | undefined
  password?: string | undefined
  /** Asked before each authentication, for secrets that rotate. In place of `username` and `password`. */
  credentials?: (() => Promise<Credentials>) | undefined
  /** On by `rediss://` as well. Options left out come from the `REDIS_SSL_*` variables. */
  tls?: boolean | TlsOptions | undefined
  /** Redis Cluster. Discovery begins at the nodes of the URL, at these, or at `host` and `port`. Default false. */
  cluster?: boolean | ClusterOptions | undefined
  /** Redis Sentinel: the sentinels tell where the master is. `false` ignores `REDIS_SENTINEL`. */
  sentinel?: false | SentinelOptions | undefined
  /** Most connections to one server: one for commands, a second for wake-ups. With 1 nobody waits for another process. */
  maxConnections?: number | undefined
  /** A connection on which nothing moves for this long is closed and made anew. Default 3 s, on a cluster 1.5 s. */
  socketTimeout?: Duration | undefined
  /** Default 1 s. */
  connectTimeout?: Duration | undefined
  /** How long all commands of one request may take together before it goes on without the cache. Default 50 ms. */
  commandTimeout?: Duration | undefined
  /** How long one invalidation may take before it is queued and reported as unconfirmed. Default 1 s. */
  invalidationTimeout?: Duration | undefined
  /**
   * How many replicas must have an invalidation (`WAIT`) before it counts as confirmed: with 1 or more a failover does
   * not lose it. While fewer acknowledge, what it covers is not served by this process. Default 0: none.
   */
  waitForReplicas?: number | undefined
  /**
   * Whether entries that were there before Redis was restarted or failed over are believed. Such a server may have lost
   * the last invalidations. Default false: the first process that meets it invalidates everything under the prefix.
   */
  trustRestarts?: boolean | undefined
  /** Redis protocol. 2 for servers without HELLO. Default 3. */
  resp?: 2 | 3 | undefined
  /** First part of every key. Letters, digits, `_ . - :`. Default `redwell`. */
  prefix?: string | undefined
  /** Lifetime of entries that name none; 0 keeps them until they are evicted. Default 0. */
  defaultTtl?: Duration | undefined
  /** Warn when the first entry without expiry is stored on a server that cannot evict it. Default true. */
  warnUnboundedCache?: boolean | undefined
  /** OpenTelemetry: spans and metrics of all caches of the process; see `redwell/otel`. Default false. */
  otel?: boolean | undefined
  /** The driver's own OpenTelemetry metrics, of all node-redis clients made from then on. Default false. */
  otelRedis?: boolean | undefined
  /** Units that a client may use in `rateLimitDefaultWindow` over the whole application; 0: no such limit. Default 0. */
  rateLimitDefaultLimit?: number | undefined
  /** Window of `rateLimitDefaultLimit`. Default 60 s. */
  rateLimitDefaultWindow?: Duration | undefined
  /** Rate limits refuse with 503 while Redis cannot answer, unless a limit says otherwise. Default false: they count locally. */
  rateLimitFailClosed?: boolean | undefined
  /** Whether responses carry the fields of rate limits, unless a limit says otherwise. Default true. */
  rateLimitEmitHeaders?: boolean | undefined
  /** Whether these are the IETF draft's `RateLimit` fields; false: `X-RateLimit-…`. Default true. */
  rateLimitIetfHeaders?: boolean | undefined
  /**
   * Whether this process reports itself while an operator looks (the `redwell` command, `redwell/dashboard`), and adds its
   * counts to the history once a minute. Default true.
   */
  operate?: boolean | undefined
  /** Your own node-redis client, used as it is: you connect it and you close it. */
  client?: NodeRedis | undefined
}

/** What sessions take from the settings (`REDIS_SESSION_…`). */
export interface SessionSettings {
  readonly cookieName?: string | undefined
  readonly cookiePath?: string | undefined
  readonly cookieDomain?: string | undefined
  readonly cookieHttpsOnly?: boolean | undefined
  readonly cookieSameSite?: 'lax' | 'strict' | 'none' | undefined
  readonly idleTtlMs?: number | undefined
  readonly absoluteTtlMs?: number | undefined
  readonly gcTtlMs?: number | undefined
  readonly refreshOnLoad?: boolean | undefined
  readonly failClosed?: boolean | undefined
  readonly principalKeys?: readonly string[] | undefined
}

export interface Address {
  readonly host: string
  readonly port: number
}

/** TLS material after the files have been read. */
export interface ResolvedTls {
  readonly cert: Pem | undefined
  readonly key: Secret | undefined
  readonly ca: Pem | undefined
  readonly checkHostname: boolean
}

export interface ResolvedSentinel {
  readonly nodes: readonly Address[]
  readonly masterName: string
  readonly username: string | undefined
  readonly password: Secret | undefined
}

/** Settings after all defaults and checks. Safe to log: secrets show as `***`. */
export interface ResolvedSettings {
  readonly kind: 'memory' | 'standalone' | 'cluster' | 'sentinel'
  readonly nodes: readonly Address[]
  readonly db: number
  readonly username: string | undefined
  readonly password: Secret | undefined
  readonly credentials: (() => Promise<Credentials>) | undefined
  readonly tls: ResolvedTls | undefined
  readonly sentinel: ResolvedSentinel | undefined
  readonly maxConnections: number | undefined
  readonly socketTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
  readonly invalidationTimeoutMs: number
  readonly waitForReplicas: number
  readonly trustRestarts: boolean
  readonly resp: 2 | 3
  readonly prefix: string
  readonly defaultTtlMs: number
  readonly warnUnboundedCache: boolean
  readonly otel: boolean
  readonly otelRedis: boolean
  readonly rateLimit: {
    /** Of the whole application; undefined: none. */
    readonly rate: { readonly limit: number; readonly windowMs: number } | undefined
    readonly failClosed: boolean
    readonly headers: 'draft' | 'legacy' | 'none'
  }
  readonly sessions: SessionSettings
  readonly operate: boolean
  readonly client: NodeRedis | undefined
  /** What was given and does not count; said once at start. */
  readonly warnings: readonly string[]
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** For types that do not accept a member that is there and undefined. */
export function withoutUndefined<T extends object>(object: T): Defined<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>
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
export function parseUrl(name: string, url: string, problems: string[]): ParsedUrl | undefined {
  const [, scheme, userinfo = '', hosts, db = ''] = SHAPE.exec(url) ?? []
  if (scheme === undefined || hosts === undefined) {
    problems.push(
      `${name}: '${masked(url)}' is not redis://[[username]:password@]host[:port][/db], rediss://… or memory:`,
    )
    return undefined
  }
  return {
    nodes: parseAddresses(name, hosts, DEFAULT_PORT, problems),
    tls: scheme.toLowerCase() === 'rediss',
    db: db === '' ? undefined : Number(db),
    ...parseUserinfo(name, userinfo, problems),
  }
}

function parseUserinfo(name: string, userinfo: string, problems: string[]): Pick<ParsedUrl, 'username' | 'password'> {
  const colon = userinfo.indexOf(':')
  try {
    const username = decodeURIComponent(colon === -1 ? userinfo : userinfo.slice(0, colon))
    const password = colon === -1 ? undefined : decodeURIComponent(userinfo.slice(colon + 1))
    return { username: username === '' ? undefined : username, password }
  } catch {
    problems.push(`${name}: its username or password is not percent-encoded properly`)
    return { username: undefined, password: undefined }
  }
}

/** A list of nodes, or one text with commas between them. Reports one problem for the whole list. */
export function parseAddresses(
  name: string,
  list: string | readonly string[],
  defaultPort: number,
  problems: string[],
): readonly Address[] {
  const texts = (typeof list === 'string' ? list.split(',') : list).filter((text) => text.trim() !== '')
  const nodes = texts.map((text) => parseAddress(text, defaultPort)).filter((node) => node !== undefined)
  if (texts.length === 0) problems.push(`${name}: must name at least one host[:port]`)
  else if (nodes.length < texts.length) problems.push(`${name}: '${masked(texts.join(','))}' is not host[:port]`)
  return nodes
}

/** `host`, `host:port`, `[ipv6]:port`. */
function parseAddress(text: string, defaultPort: number): Address | undefined {
  try {
    const url = new URL(`http://${text.trim()}`)
    const bare = url.pathname === '/' && `${url.search}${url.hash}${url.username}${url.password}` === ''
    // The WHATWG parser drops port 80 as the default of its scheme.
    const impliedPort = text.trim().endsWith(':80') ? 80 : defaultPort
    const port = url.port === '' ? impliedPort : Number(url.port)
    return bare && url.hostname !== '' && port !== 0 ? { host: url.hostname.replace(/^\[|\]$/g, ''), port } : undefined
  } catch {
    return undefined
  }
}

const AUTHORITY = /^([a-z][a-z0-9+.-]*:\/\/)?(?:(.*)@)?([^@/?#]*)(.*)$/is

/** A host and its port; the port may have a letter too many, which is a typo and no password. */
const HOST = /^\s*(\[[0-9a-f:.]+\]|[a-z0-9._-]+)?(:\d{0,5}|:\d{2,4}[a-z])?\s*$/i

const DATABASE = /^(\/\d*)?$/

/**
 * What a message may show of a wrong address: its scheme and hosts. From the first text that is no host on everything
 * is masked, because that may be a password whose `@host` was forgotten, commas and all.
 */
export function masked(text: string): string {
  const [, scheme = '', userinfo, list = '', rest = ''] = AUTHORITY.exec(text) ?? []
  const hosts = list.split(',')
  const wrong = hosts.findIndex((host) => !HOST.test(host))
  const shown = wrong === -1 ? list : [...hosts.slice(0, wrong), '***'].join(',')
  return `${scheme}${userinfo === undefined ? '' : '***@'}${shown}${DATABASE.test(rest) ? rest : '/…'}`
}
