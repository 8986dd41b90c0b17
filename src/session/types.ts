import type { SchemaIssue } from '../schema-issues.js'
import type { Duration } from '../duration.js'
import type { MaybePromise } from '../maybe-promise.js'
import type { RequestFunction } from '../request-function.js'
import type { SessionStore } from './session-store.js'

/**
 * The properties of a session. Declare yours:
 *
 * @example
 * declare module 'redwell' {
 *   interface SessionData { userId?: string; cart?: Item[] }
 * }
 */
export interface SessionData {}

/** Attributes of the session cookie. It is always `HttpOnly`. */
export interface SessionCookieOptions {
  /**
   * Name. Default: `REDIS_SESSION_COOKIE_NAME`, or `__Host-session` if the cookie is Secure with path `/` and without a
   * domain, otherwise `session`.
   */
  name?: string | undefined
  /** Path. Default: `REDIS_SESSION_COOKIE_PATH`, or `/`. */
  path?: string | undefined
  /** Sends the cookie to subdomains as well. Default: `REDIS_SESSION_COOKIE_DOMAIN`, or none. */
  domain?: string | undefined
  /**
   * HTTPS only. If `NODE_ENV` is `development` or `test`, a plain HTTP request to localhost still gets a cookie without
   * Secure. Default: `REDIS_SESSION_COOKIE_HTTPS_ONLY`, or true.
   */
  secure?: boolean | undefined
  /** `SameSite` attribute. Default: `REDIS_SESSION_COOKIE_SAME_SITE`, or `lax`. */
  sameSite?: 'lax' | 'strict' | 'none' | undefined
  /** A separate cookie for each site that embeds this one (CHIPS). Default false. */
  partitioned?: boolean | undefined
  /** Keeps the cookie when the browser closes: `Max-Age` is the remaining lifetime of the session. Default true. */
  persistent?: boolean | undefined
}

/** A signed-in user. The number 1 and the string '1' are the same; `undefined`, `null` and `''` mean that no user is signed in. */
export type SessionPrincipal = string | number | bigint | null | undefined

/** The part of the Standard Schema interface that sessions use. */
export interface SessionSchema {
  /** The interface that the library implements. */
  readonly '~standard': {
    /** Returns the parsed value, or issues. Must be synchronous. */
    readonly validate: (
      value: unknown,
    ) => MaybePromise<
      { readonly value: unknown; readonly issues?: undefined } | { readonly issues: readonly SchemaIssue[] }
    >
  }
}

/** Converts the values of properties; the coders of `redwell/devalue` and `redwell/msgpackr` fit. */
export interface SessionCoder {
  /** Name, stored with each value: a session of another coder counts as absent. */
  readonly name: string
  /** Converts a value to bytes. */
  encode(value: unknown): Uint8Array
  /** Converts bytes to a value. */
  decode(bytes: Buffer): unknown
}

/** Encrypts stored properties, instead of `secrets`. Synchronous. */
export interface SessionEncryptor {
  /** Returns the bytes to store. */
  encrypt(plain: Buffer, context: SessionPropertyContext): Uint8Array
  /** Returns the plain bytes. If it throws, the session counts as absent. */
  decrypt(stored: Buffer, context: SessionPropertyContext): Uint8Array
}

/** Which property of which session is encrypted: bind the result to both. */
export interface SessionPropertyContext {
  /** Handle of the session. */
  readonly handle: string
  /** Name of the property. */
  readonly property: string
}

/** Options of sessions. `Req` is the framework's request. */
export interface SessionOptions<Req = never> {
  /** Where sessions are kept. Default: Redis, or this process with `url: 'memory:'`. */
  store?: SessionStore | undefined
  /** Name and attributes of the cookie. */
  cookie?: SessionCookieOptions | undefined
  /**
   * Lifetime without requests, or up to a sixtieth longer: seconds, or `'30m'`. Default: `REDIS_SESSION_IDLE_TTL`, or 30
   * minutes.
   */
  idleTtl?: Duration | undefined
  /** Lifetime since the session was created, used or not: seconds, or `'8h'`. Default: `REDIS_SESSION_ABSOLUTE_TTL`, or 8 hours. */
  absoluteTtl?: Duration | undefined
  /**
   * How long a subject's record is kept after the last sign-in; at least `absoluteTtl`. Default:
   * `REDIS_SESSION_GC_TTL`, or `absoluteTtl`.
   */
  gcTtl?: Duration | undefined
  /**
   * Returns the signed-in user from the session's data. When the result changes, the session gets a new id. Default: by
   * `principalKeys`.
   */
  principal?: ((data: SessionData) => SessionPrincipal) | undefined
  /** Properties that identify the signed-in user, instead of `principal`. Default: `REDIS_SESSION_PRINCIPAL_KEYS`, or `['userId']`. */
  principalKeys?: readonly string[] | undefined
  /** Returns the owner whose sessions are listed and revoked together, such as the account of several users. Default: the principal, also where it returns `undefined`. */
  subject?: ((data: SessionData) => SessionPrincipal) | undefined
  /** Returns what device lists show for a session, called when it is created or gets a new id; at most 512 characters are stored. Must be synchronous. Default: nothing. */
  describe?: RequestFunction<Req, string | undefined> | undefined
  /** Maximum number of sessions of a subject; a further sign-in ends the oldest. Default: no limit. */
  maxPerSubject?: number | undefined
  /** Function that returns the data of a new session; it is stored with the first change. Must be synchronous. Default: none. */
  initial?: (() => SessionData) | undefined
  /** Validates data when it is read and written; must be synchronous. A stored session that fails counts as absent. Default: none. */
  schema?: SessionSchema | undefined
  /**
   * Encrypts each property with AES-256-GCM: the first secret encrypts, all of them decrypt. At least 32 characters each. A
   * new one is appended first, and moved to the front when all processes know it. Default: none, so properties are readable
   * in Redis.
   */
  secrets?: string | readonly string[] | undefined
  /** Your own encryption, instead of `secrets`. Default: none. */
  encryptor?: SessionEncryptor | undefined
  /** Encoding of stored values. Default: JSON. */
  coder?: SessionCoder | undefined
  /** Returns true for requests without a session: nothing is read, and access to `data` throws. Must be synchronous. Default: none. */
  skip?: RequestFunction<Req, boolean> | undefined
  /**
   * What happens to a request whose session cannot be read: it is `anonymous`, or fails with 503 (`fail`). Changes fail with
   * 503 in both cases.
   * Default: `anonymous`, or `fail` with `REDIS_SESSION_FAIL_CLOSED`.
   */
  whenUnavailable?: 'anonymous' | 'fail' | undefined
  /** What restarts the idle timeout: each request (`load`), or changes only (`write`). Default: `load`, or `write` with `REDIS_SESSION_REFRESH_ON_LOAD=false`. */
  refresh?: 'load' | 'write' | undefined
}

/** A session in a list of devices. */
export interface SessionInfo {
  /** Identifies the session in lists; it cannot be used to sign in. */
  readonly handle: string
  /** When the session was created. */
  readonly createdAt: Date
  /** The last sign-in or rotation. */
  readonly issuedAt: Date
  /** When its idle timeout was last restarted: the last request, to within a sixtieth of `idleTtl`. */
  readonly lastSeenAt: Date
  /** When it ends unless it is used again. */
  readonly expiresAt: Date
  /** What `describe` returned. */
  readonly descriptor: string | undefined
  /** Whether it is the session that was passed as `current`. */
  readonly current: boolean
}
