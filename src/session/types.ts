import type { Duration } from '../duration.js'
import type { MaybePromise } from '../maybe-promise.js'

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
   * Name. Default: `REDIS_SESSION_COOKIE_NAME`, or `__Host-session` where Secure, path `/` and no domain allow it,
   * otherwise `session`.
   */
  name?: string | undefined
  /** Default: `REDIS_SESSION_COOKIE_PATH`, or `/`. */
  path?: string | undefined
  /** Sends the cookie to subdomains as well. Default: `REDIS_SESSION_COOKIE_DOMAIN`, or none. */
  domain?: string | undefined
  /**
   * HTTPS only. Even then, with `NODE_ENV` `development` or `test`, a request on plain HTTP from this machine to itself
   * gets a cookie without Secure. Default: `REDIS_SESSION_COOKIE_HTTPS_ONLY`, or true.
   */
  secure?: boolean | undefined
  /** Default: `REDIS_SESSION_COOKIE_SAME_SITE`, or `lax`. */
  sameSite?: 'lax' | 'strict' | 'none' | undefined
  /** A cookie of its own for each site that embeds this one (CHIPS). Default false. */
  partitioned?: boolean | undefined
  /** Outlives the browser: the cookie has the `Max-Age` that the session has left. Default true. */
  persistent?: boolean | undefined
}

/** What a principal may be; numbers count by their text, `undefined`, `null` and `''` are nobody. */
export type SessionPrincipal = string | number | bigint | null | undefined

/** The interface of Standard Schema libraries, as far as sessions use it. */
export interface SessionSchema {
  readonly '~standard': {
    /** Returns the value that the schema makes of this one, or its issues. */
    readonly validate: (
      value: unknown,
    ) => MaybePromise<
      | { readonly value: unknown; readonly issues?: undefined }
      | { readonly issues: readonly { readonly message: string }[] }
    >
  }
}

/** Converts the values of properties; the coders of `redwell/devalue` and `redwell/msgpackr` fit. */
export interface SessionCoder {
  readonly name: string
  /** Returns the bytes of a value. */
  encode(value: unknown): Uint8Array
  /** Returns the value of bytes. */
  decode(bytes: Buffer): unknown
}

/** Encrypts what is stored of properties, in place of `secrets`. Synchronous, like the coder. */
export interface SessionEncryptor {
  /** Returns what is stored. */
  encrypt(plain: Buffer, context: SessionPropertyContext): Uint8Array
  /** What it throws ends the session: it counts as one that is not there. */
  decrypt(stored: Buffer, context: SessionPropertyContext): Uint8Array
}

/** Which property of which session is encrypted: bind the result to both. */
export interface SessionPropertyContext {
  readonly handle: string
  readonly property: string
}

/** Options of sessions. `Req` is the framework's request. */
export interface SessionOptions<Req = never> {
  /** Name and attributes of the cookie. */
  cookie?: SessionCookieOptions | undefined
  /** A session ends when it is not used for so long. Default: `REDIS_SESSION_IDLE_TTL`, or 30 minutes. */
  idleTtl?: Duration | undefined
  /** A session ends so long after it was created, used or not. Default: `REDIS_SESSION_ABSOLUTE_TTL`, or 8 hours. */
  absoluteTtl?: Duration | undefined
  /**
   * How long the record of a subject is kept after the last sign-in; at least `absoluteTtl`. Default:
   * `REDIS_SESSION_GC_TTL`, or `absoluteTtl`.
   */
  gcTtl?: Duration | undefined
  /**
   * Who is signed in, by the session's data. When its result changes, the session gets a new id. Default: by
   * `principalKeys`.
   */
  principal?: ((data: SessionData) => SessionPrincipal) | undefined
  /** Properties that say who is signed in, in place of `principal`. Default: `REDIS_SESSION_PRINCIPAL_KEYS`, or `['userId']`. */
  principalKeys?: readonly string[] | undefined
  /** Whose sessions are listed and revoked together. Default: the principal. */
  subject?: ((data: SessionData) => SessionPrincipal) | undefined
  /** What device lists show of a session, asked when it is created or changes its id; at most 512 characters are kept. Default: nothing. */
  describe?: ((request: Req) => string | undefined) | undefined
  /** Most sessions of one subject: the oldest is ended by a further sign-in. Default: no limit. */
  maxPerSubject?: number | undefined
  /** Data of a session that has none yet. */
  initial?: (() => SessionData) | undefined
  /** Checks data when it is read and before it is written; must be synchronous. Data in Redis that fails counts as no session. */
  schema?: SessionSchema | undefined
  /**
   * Encrypts each property (AES-256-GCM): the first secret encrypts, all decrypt. At least 32 characters each. Default:
   * none, properties are readable in Redis.
   */
  secrets?: string | readonly string[] | undefined
  /** Your own encryption in place of `secrets`. */
  encryptor?: SessionEncryptor | undefined
  /** Form of stored values. Default: JSON. */
  coder?: SessionCoder | undefined
  /** Requests without a session: nothing is read, and `data` is refused. */
  skip?: ((request: Req) => boolean) | undefined
  /**
   * A request whose session cannot be read: `anonymous`, or `fail` with 503. Changes are refused with 503 in both cases.
   * Default: `anonymous`, or `fail` with `REDIS_SESSION_FAIL_CLOSED`.
   */
  whenUnavailable?: 'anonymous' | 'fail' | undefined
  /** What restarts the idle clock: each request, or changes only. Default: `load`, or `write` with `REDIS_SESSION_REFRESH_ON_LOAD=false`. */
  refresh?: 'load' | 'write' | undefined
}

/** A session in a list of devices. */
export interface SessionInfo {
  /** Names the session; it opens nothing. */
  readonly handle: string
  readonly createdAt: Date
  /** The last sign-in or rotation. */
  readonly issuedAt: Date
  /** The last time that its idle clock was restarted. */
  readonly lastSeenAt: Date
  /** When it ends if it is not used until then. */
  readonly expiresAt: Date
  /** What `describe` returned. */
  readonly descriptor: string | undefined
  /** Whether it is the session given as `current`. */
  readonly current: boolean
}
