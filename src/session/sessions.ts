import { atOnce, OptionsError, UsageError } from '../errors.js'
import type { Logger } from '../logger.js'
import { type MaybePromise } from '../maybe-promise.js'
import type { Connection } from '../redis/connection.js'
import type { SessionSettings } from '../redis/settings.js'
import type { SessionRecorder } from '../telemetry/outcomes.js'
import { OwnRevocations, SubjectBinder } from './binder.js'
import { cookieFor, localCookie, readCookie } from './cookie.js'
import { isHandle, nonce, tagOf } from './id.js'
import { MemorySessionStore } from './memory-session-store.js'
import { resolveSessions, type SessionPolicy } from './options.js'
import { RedisSessionStore } from './redis-session-store.js'
import { Session } from './session.js'
import type { SessionRequest } from './session-request.js'
import type { SessionContext } from './session-writer.js'
import type { SessionStore } from './session-store.js'
import { isOutage, StoreProblems } from './store-problems.js'
import type { SessionInfo, SessionOptions } from './types.js'

/** What sessions need of an application. */
export interface SessionsContext {
  readonly connection: Connection | undefined
  readonly replicated: Connection | undefined
  readonly prefix: string
  readonly settings: SessionSettings
  readonly telemetry: SessionRecorder
  readonly logger: Logger
  /** Milliseconds, of the embedded store. */
  readonly now: () => number
}

/** The subject of a session: numbers count by their text. */
export type Subject = string | number | bigint

const LATE_OPTIONS =
  'redwell: sessions were used with the defaults before the first request brought the options of `sessions`. Pass the options to createRedis({ sessions }) instead, so that `redis.sessions` has them from the start.'

const OTHER_OPTIONS =
  'Sessions are already configured: a Redis handle has one kind of session, so pass options to one `sessions` of it only. For another kind use a second handle, with another prefix, cookie and paths.'

/** Warnings that are remembered as given. */
const WARNINGS_MAX = 100

/**
 * The sessions of an application: lists and ends them. Adapters put the session of a request on the
 * request.
 *
 * @example
 * const devices = await redis.sessions.list(userId)
 * await redis.sessions.revoke(userId, devices[0].handle)
 */
export class Sessions {
  readonly #outer: SessionsContext
  #store: SessionStore
  readonly #own = new OwnRevocations()
  readonly #warned = new Set<string>()
  readonly #problems: StoreProblems
  #options: object | undefined
  #context: SessionContext | undefined

  /** @internal Use `redis.sessions`. Throws OptionsError with every problem. */
  constructor(outer: SessionsContext, options?: SessionOptions) {
    this.#outer = outer
    const { connection, prefix, replicated, now, logger } = outer
    this.#problems = new StoreProblems(logger, now)
    this.#store =
      connection === undefined ? new MemorySessionStore(now) : new RedisSessionStore(connection, prefix, replicated)
    if (options !== undefined) this.configure(options)
  }

  /** @internal Whether an application has switched sessions on. */
  get isConfigured(): boolean {
    return this.#options !== undefined
  }

  /**
   * Where these sessions are kept. As the `store` of another handle's sessions it keeps them on this handle's Redis,
   * while that handle caches on its own.
   */
  get storage(): SessionStore {
    return this.#store
  }

  /** @internal */
  get policy(): SessionPolicy {
    return this.#shared().policy
  }

  /** @internal Options that an adapter was given. Throws OptionsError with every problem, UsageError where there are others. */
  configure<Req>(options: SessionOptions<Req>): void {
    if (this.#options === options) return
    if (this.#options !== undefined) throw new UsageError(OTHER_OPTIONS)
    if (this.#context !== undefined && Object.keys(options).length > 0) this.#outer.logger.warn(LATE_OPTIONS)
    this.#use(options)
    this.#options = options
  }

  /**
   * The session that a `Cookie` field names, an anonymous one where it names none; for WebSocket upgrades and wherever
   * no adapter is. With `NODE_ENV` of a developer's machine it takes the cookie that plain HTTP has there, too. Save
   * changes with `save()`. Rejects with SessionError where Redis does not answer and `whenUnavailable` is `fail`.
   */
  async load(cookieHeader: string | undefined): Promise<Session> {
    return this.open({ cookieHeader })
  }

  /** @internal Whether a session is of this kind. */
  opened(session: Session): boolean {
    return session.isOf(this.#context)
  }

  /** @internal The session of a request. */
  open(request: SessionRequest<Session>): MaybePromise<Session> {
    const context = this.#shared()
    const { policy, telemetry, localCookie: local } = context
    const cookie = cookieFor(policy.cookie, local, request)
    const skip = policy.skip as ((request: unknown) => boolean) | undefined
    if (skip !== undefined && request.native !== undefined && atOnce(skip(request.native), 'skip'))
      return new Session(context, request, cookie, undefined, 'skipped')
    const id = readCookie(request.cookieHeader, cookie.name)
    if (id === 'malformed') telemetry.record('load', 'malformed', 0)
    return new Session(context, request, cookie, id === 'malformed' ? undefined : id, 'none').load()
  }

  /**
   * The sessions of a subject, the newest last. `current`: the session of this request, which is marked. Rejects with
   * UnavailableError where Redis does not answer.
   */
  async list(subject: Subject, { current }: { readonly current?: Session | undefined } = {}): Promise<SessionInfo[]> {
    checkSession('current of sessions.list', current)
    return this.#asked('list', async () => {
      const tag = tagFor(subject)
      const handles = await this.#store.handles(tag)
      const described = await this.#store.describe(tag, handles)
      const own = current?.handle
      return handles.flatMap((handle, index): SessionInfo[] => {
        const found = described[index]
        if (found?.isBound !== true) return []
        const { createdAt, issuedAt, seenAt, expiresAt, descriptor } = found
        return [
          {
            handle,
            createdAt: dateOf(createdAt),
            issuedAt: dateOf(issuedAt),
            lastSeenAt: dateOf(seenAt),
            expiresAt: dateOf(expiresAt),
            descriptor: descriptor === '' ? undefined : descriptor,
            current: handle === own,
          },
        ]
      })
    })
  }

  /** Ends one session of a subject. False: the subject has no such session. Rejects with UnavailableError. */
  async revoke(subject: Subject, handle: string): Promise<boolean> {
    const tag = tagFor(subject)
    if (!isHandle(handle)) return false
    return this.#asked('revoke', async () => {
      if (!(await this.#store.has(tag, handle))) return false
      const existed = await this.#store.end(handle, undefined, this.#outer.connection?.invalidationBudget())
      await this.#store.withdraw(tag, [handle])
      return existed
    })
  }

  /**
   * Ends every session of a subject, sign-ins under way included. Returns how many there were. `except`: a session that
   * is kept, usually the one of this request. If it has no user yet, this request may still sign in afterwards.
   * Rejects with UnavailableError where Redis did not confirm it.
   *
   * @example
   * await redis.sessions.revokeAll(userId, { except: request.session })
   */
  async revokeAll(subject: Subject, { except }: { readonly except?: Session | undefined } = {}): Promise<number> {
    const tag = tagFor(subject)
    checkSession('except of sessions.revokeAll', except)
    const binding = except?.binding
    const epoch = nonce()
    return this.#asked('revoke-all', async () => {
      const spared = binding?.tag === tag ? binding : undefined
      const count = await this.#store.revokeAll(tag, { epoch, keepMs: this.policy.keepMs, except: spared })
      this.#own.add(tag, epoch)
      except?.knows(epoch)
      return count
    })
  }

  #shared(): SessionContext {
    return this.#context ?? this.#use({})
  }

  #use(options: SessionOptions): SessionContext {
    const { connection, settings, telemetry, logger } = this.#outer
    const policy = resolveSessions(options, settings)
    this.#store = policy.store ?? this.#store
    this.#context = {
      store: this.#store,
      policy,
      localCookie: localCookie(policy.cookie, process.env['NODE_ENV']),
      binder: new SubjectBinder(this.#store, policy, this.#own),
      telemetry,
      problems: this.#problems,
      budget: () => connection?.commandBudget(),
      warnOnce: (message) => {
        if (this.#warned.has(message) || this.#warned.size >= WARNINGS_MAX) return
        this.#warned.add(message)
        logger.warn(message)
      },
    }
    return this.#context
  }

  async #asked<T>(operation: string, ask: () => Promise<T>): Promise<T> {
    const { telemetry } = this.#outer
    const since = performance.now()
    try {
      const result = await ask()
      telemetry.record(operation, 'done', performance.now() - since)
      this.#problems.worked(operation)
      return result
    } catch (error) {
      const isAway = isOutage(error)
      telemetry.record(operation, isAway ? 'unavailable' : 'error', performance.now() - since)
      throw isAway ? this.#problems.unavailable(operation, error) : error
    }
  }
}

function tagFor(subject: Subject): string {
  const text = String(subject)
  if (text === '' || (typeof subject !== 'string' && typeof subject !== 'number' && typeof subject !== 'bigint'))
    throw new OptionsError('subject of sessions', ['must be a non-empty string or a number'])
  return tagOf(text)
}

/** Throws OptionsError where an option is not the session of a request. */
function checkSession(where: string, session: unknown): void {
  if (session === undefined || session instanceof Session) return
  throw new OptionsError(where, [
    'must be the session of a request: request.session, c.var.session, or sessionOfRequest(req) in Express',
  ])
}

function dateOf(us: number): Date {
  return new Date(us / 1000)
}
