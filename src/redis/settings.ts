import type { RedisClientType, RedisClusterType, RedisSentinelType } from '@redis/client'
import { inspect } from 'node:util'
import type { Duration } from '../duration.js'

/** A node-redis client of any modules and protocol. */
export type NodeRedis = RedisClientType | RedisClusterType | RedisSentinelType

/** A client of ioredis, from version 5 on: of one server, by sentinels, or of a cluster. */
export interface IoRedis {
  readonly status: string
  callBuffer(command: string, ...args: (string | Buffer)[]): Promise<unknown>
  quit(): Promise<unknown>
  disconnect(reconnect?: boolean): void
}

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

/** Certificates of a TLS connection. */
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

/** Where the sentinels are, and their own credentials. */
export interface SentinelOptions {
  /** `host` or `host:port`, in a list or separated by commas; default port 26379. Default: `REDIS_SENTINEL_NODES`. */
  nodes?: string | readonly string[] | undefined
  /** Name of the monitored master. Default `mymaster`. */
  masterName?: string | undefined
  /** Credentials of the sentinels themselves, never sent to the master. */
  username?: string | undefined
  /** Masked in errors, logs and inspections. Default: none. */
  password?: string | undefined
}

/** Nodes at which discovery of a cluster begins. */
export interface ClusterOptions {
  /** `host` or `host:port`, in a list or separated by commas: where discovery begins. Default port 6379. */
  nodes: string | readonly string[]
}

/** A cache in this process's memory, in front of Redis. */
export interface NearOptions {
  /** Bytes of this process's memory that it may use, at least 1 MiB. The least requested entries are evicted first. */
  maxBytes: number
}

/** User and password of one authentication. */
export interface Credentials {
  /** Default: the `default` user of Redis. */
  username?: string | undefined
  /** Sent with the next connection. */
  password: string
}

/** Where Redis is and how it is used. Fields that are left out come from the `REDIS_*` variables. */
export interface RedisSettings {
  /** `redis://`, `rediss://` (TLS), several nodes separated by commas for a cluster, or `memory:` for the embedded store. */
  url?: string | undefined
  /** Host of the server. Default `localhost`. */
  host?: string | undefined
  /** Port of the server, 1 to 65535. Default 6379. */
  port?: number | undefined
  /** Database number. Default 0. */
  db?: number | undefined
  /** User of the ACL. Default: the `default` user of Redis. */
  username?: string | undefined
  /** Masked in errors, logs and inspections. Default: none. */
  password?: string | undefined
  /** Called for each connection, for secrets that rotate. In place of `username` and `password`. Default: none. */
  credentials?: (() => Promise<Credentials>) | undefined
  /** TLS; `rediss://` switches it on too. Options left out come from the `REDIS_SSL_*` variables. Default false. */
  tls?: boolean | TlsOptions | undefined
  /** Redis Cluster. Discovery begins at the nodes of the URL, at these, or at `host` and `port`. Default false. */
  cluster?: boolean | ClusterOptions | undefined
  /** Redis Sentinel: the sentinels name the master. `false` ignores `REDIS_SENTINEL`. Default: none. */
  sentinel?: false | SentinelOptions | undefined
  /** Most connections to one server: one for commands, a second for wake-ups. With 1, no request waits for another process. */
  maxConnections?: number | undefined
  /** A connection without a byte in either direction for this long is closed and opened again. Default 3 s, on a cluster 1.5 s. */
  socketTimeout?: Duration | undefined
  /** Limit of one connection attempt. Default 1 s. */
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
   * Whether entries from before a restart or failover of Redis are used. Such a server may have lost
   * the last invalidations. Default false: the first process that meets it invalidates everything under the prefix.
   */
  trustRestarts?: boolean | undefined
  /** Redis protocol. 2 for servers without HELLO. Default 3. */
  resp?: 2 | 3 | undefined
  /**
   * A near cache: entries in this process's memory in front of Redis, kept current by Redis. Its hits send Redis
   * nothing. Default: none. See docs/near-cache.md.
   */
  near?: NearOptions | undefined
  /** First part of every key. Letters, digits, `_ . - :`. Default `redwell`. */
  prefix?: string | undefined
  /**
   * Name of the application, as operators see it. Applications of different names that cache routes under one prefix
   * are reported in the log. Default: the name in its package.json.
   */
  application?: string | undefined
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
   * Whether this process reports itself while an operator looks (the `redwell` command), and adds its
   * counts to the history once a minute. Default true.
   */
  operate?: boolean | undefined
  /** Your own client of node-redis or ioredis, used as it is: you connect it and you close it. */
  client?: NodeRedis | IoRedis | undefined
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
  /** What the connection leads to; `memory` is the embedded store. */
  readonly kind: 'memory' | 'standalone' | 'cluster' | 'sentinel'
  /** Server, or nodes of a cluster; empty for others. */
  readonly nodes: readonly Address[]
  /** Database number. */
  readonly db: number
  /** User of the ACL. */
  readonly username: string | undefined
  /** Masked. */
  readonly password: Secret | undefined
  /** Provider in place of user and password. */
  readonly credentials: (() => Promise<Credentials>) | undefined
  /** TLS material; undefined without TLS. */
  readonly tls: ResolvedTls | undefined
  /** Sentinels; undefined without Sentinel. */
  readonly sentinel: ResolvedSentinel | undefined
  /** Most connections to one server; undefined: two. */
  readonly maxConnections: number | undefined
  /** Longest silence of a connection, in milliseconds. */
  readonly socketTimeoutMs: number
  /** Limit of one connection attempt, in milliseconds. */
  readonly connectTimeoutMs: number
  /** Budget of all commands of one request, in milliseconds. */
  readonly commandTimeoutMs: number
  /** Limit of one invalidation, in milliseconds. */
  readonly invalidationTimeoutMs: number
  /** Replicas that must acknowledge an invalidation. */
  readonly waitForReplicas: number
  /** Whether entries from before a restart or failover are used. */
  readonly trustRestarts: boolean
  /** Redis protocol. */
  readonly resp: 2 | 3
  /** Bytes of the near cache; undefined: there is none. */
  readonly nearBytes: number | undefined
  /** First part of every key. */
  readonly prefix: string
  /** Name of the application; undefined: that of its package. */
  readonly application: string | undefined
  /** Lifetime of entries that name none, in milliseconds; 0: until evicted. */
  readonly defaultTtlMs: number
  /** Whether entries without expiry cause a warning on a server that cannot evict them. */
  readonly warnUnboundedCache: boolean
  /** Whether spans and metrics are recorded. */
  readonly otel: boolean
  /** Whether the driver's own metrics are on. */
  readonly otelRedis: boolean
  /** Limit of the application and defaults of all limits. */
  readonly rateLimit: {
    /** Limit of the whole application; undefined: none. */
    readonly rate:
      | {
          /** Calls in a window. */
          readonly limit: number
          /** Length of the window in milliseconds. */
          readonly windowMs: number
        }
      | undefined
    /** Whether limits refuse while Redis cannot answer. */
    readonly failClosed: boolean
    /** Fields of responses. */
    readonly headers: 'draft' | 'legacy' | 'none'
  }
  /** Defaults of all sessions. */
  readonly sessions: SessionSettings
  /** Whether operators may ask this process over Redis. */
  readonly operate: boolean
  /** The client that was passed in. */
  readonly client: NodeRedis | IoRedis | undefined
  /** Settings that were given and are ignored; logged once at start. */
  readonly warnings: readonly string[]
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** For types that do not accept a member that exists and is undefined. */
export function withoutUndefined<T extends object>(object: T): Defined<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>
}
