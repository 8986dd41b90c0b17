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
  /** Your own node-redis client, used as it is: you connect it and you close it. */
  client?: NodeRedis | undefined
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
  readonly client: NodeRedis | undefined
  /** What was given and does not count; said once at start. */
  readonly warnings: readonly string[]
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** For types that do not accept a member that is there and undefined. */
export function withoutUndefined<T extends object>(object: T): Defined<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>
}
