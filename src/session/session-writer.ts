import { randomBytes } from 'node:crypto'
import { atOnce, SessionError } from '../errors.js'
import type { CommandBudget } from '../redis/deadline.js'
import type { SessionRecorder } from '../telemetry/outcomes.js'
import { NO_EPOCH, type SubjectBinder } from './binder.js'
import type { CookiePolicy } from './cookie.js'
import { newId, type SessionId, tagOf } from './id.js'
import type { SessionPolicy } from './options.js'
import type { PayloadChange } from './payload.js'
import type { LoadedRecord, SessionStore } from './session-store.js'
import { isOutage, type StoreProblems } from './store-problems.js'
import type { SessionData } from './types.js'

/** What all sessions of an application share. */
export interface SessionContext {
  readonly store: SessionStore
  readonly policy: SessionPolicy
  /** The cookie's attributes on a developer's own machine. */
  readonly localCookie: CookiePolicy | undefined
  readonly binder: SubjectBinder
  readonly telemetry: SessionRecorder
  readonly problems: StoreProblems
  readonly budget: () => CommandBudget | undefined
  /** Calls back the first time only. */
  readonly warnOnce: (message: string) => void
}

/** A session under its new id. */
export interface Made {
  readonly id: SessionId
  readonly record: LoadedRecord
  /** Seconds until its absolute deadline. */
  readonly maxAge: number
}

export const SECOND_US = 1_000_000

/** A save so soon after the load does not restart the idle clock once more. */
const JUST_LOADED_MS = 1000

const DESCRIPTOR_MAX = 512

const NONE: ReadonlySet<string> = new Set()

/** What one request asks of the store: the subject first, then the session. */
export class SessionWriter {
  /** Epochs of revocations that the request made itself. */
  get known(): ReadonlySet<string> {
    return this.#known ?? NONE
  }

  #known: Set<string> | undefined
  readonly #context: SessionContext
  readonly #native: unknown
  #budget: CommandBudget | undefined
  #budgetSince = -Infinity

  /** This request has made the revocation. */
  knows(epoch: string): void {
    this.#known = new Set(this.#known).add(epoch)
  }

  /** `native`: the framework's request. `startedAt`: monotonic time at which the request began. */
  constructor(
    context: SessionContext,
    native: unknown,
    readonly startedAt: number,
  ) {
    this.#context = context
    this.#native = native
  }

  /** One budget for load and save of a request; what is saved later, as on a WebSocket, has another. */
  deadline(): CommandBudget | undefined {
    const now = performance.now()
    if (now - this.#budgetSince > JUST_LOADED_MS) {
      this.#budget = this.#context.budget()
      this.#budgetSince = now
    }
    return this.#budget
  }

  async save(id: SessionId, record: LoadedRecord, change: PayloadChange, touches: boolean): Promise<void> {
    const { store, policy } = this.#context
    const justLoaded = policy.refreshOnLoad && performance.now() - this.startedAt < JUST_LOADED_MS
    const idleMs = justLoaded && !touches ? 0 : policy.idleMs
    const from = { owner: record.owner, tag: id.tag }
    const result = await store.save(id.handle, from, { ...change, idleMs }, this.deadline())
    if (result !== 'saved') throw new SessionError(result)
  }

  async create(handle: string, data: SessionData, change: PayloadChange): Promise<Made> {
    const { store, policy } = this.#context
    const { absoluteMs, idleMs } = policy
    const { tag, epoch } = await this.#bind(handle, data, absoluteMs)
    const id = newId(tag, handle)
    const owner = newOwner()
    const head = { tag, digest: id.digest, epoch, owner, absoluteMs, idleMs, descriptor: this.#descriptor() }
    const result = await store.create(handle, { ...change, ...head }, this.deadline())
    if (result !== 'created') throw new SessionError(result)
    const createdAt = Date.now() * 1000
    const times = { createdAt, issuedAt: createdAt, deadlineAt: createdAt + absoluteMs * 1000 }
    const now = createdAt - this.#elapsedUs
    return { id, record: { epoch, owner, ...times, now, properties: [] }, maxAge: absoluteMs / 1000 }
  }

  /** Refused where another request has given the session another id: its cookie would open nothing. */
  async rotate(
    old: SessionId,
    record: LoadedRecord,
    { data, isSame, change }: { readonly data: SessionData; readonly isSame: boolean; readonly change: PayloadChange },
  ): Promise<Made> {
    const { store, policy } = this.#context
    const leftUs = record.deadlineAt - record.now - this.#elapsedUs
    const { tag, epoch } = await this.#bind(old.handle, data, leftUs / 1000)
    const id = newId(tag, old.handle)
    const owner = isSame ? record.owner : newOwner()
    const head = { tag, digest: id.digest, epoch, owner, idleMs: policy.idleMs, descriptor: this.#descriptor() }
    const from = { digest: old.digest, owner: record.owner, tag: old.tag }
    const result = await store.rotate(old.handle, { ...change, ...head, from }, this.deadline())
    if (typeof result === 'string') {
      if (tag !== undefined && !isSame) await this.#withdraw(tag, old.handle)
      throw new SessionError(result)
    }
    if (old.tag !== undefined && old.tag !== tag) await this.#withdraw(old.tag, old.handle)
    const issuedAt = record.now + this.#elapsedUs
    return { id, record: { ...record, epoch, owner, issuedAt, properties: [] }, maxAge: result / SECOND_US }
  }

  /** `now` of a record is the time at which the request began. */
  get #elapsedUs(): number {
    return (performance.now() - this.startedAt) * 1000
  }

  /** The session first, its place in the index second. With a digest: only the session of that id. */
  async end(id: SessionId, digest: string | undefined): Promise<void> {
    const existed = await this.#context.store.end(id.handle, digest, this.deadline())
    if (id.tag !== undefined && (digest === undefined || existed)) await this.#withdraw(id.tag, id.handle)
  }

  /** The subject's record knows the session before that exists. */
  async #bind(
    handle: string,
    data: SessionData,
    lifeMs: number,
  ): Promise<{ readonly tag: string | undefined; readonly epoch: string }> {
    const { policy, binder } = this.#context
    const subject = policy.principal(data) === undefined ? undefined : policy.subject(data)
    if (subject === undefined) return { tag: undefined, epoch: NO_EPOCH }
    const tag = tagOf(subject)
    const { startedAt, known } = this
    return { tag, epoch: await binder.bind({ tag, handle, lifeMs, startedAt, known, budget: this.deadline() }) }
  }

  /** What stays in the index names a session that is not there: it is listed nowhere. */
  async #withdraw(tag: string, handle: string): Promise<void> {
    try {
      await this.#context.store.withdraw(tag, [handle], this.deadline())
    } catch (error) {
      if (!isOutage(error)) throw error
    }
  }

  #descriptor(): string {
    const describe = this.#context.policy.describe as ((request: unknown) => string | undefined) | undefined
    if (describe === undefined || this.#native === undefined) return ''
    return (atOnce(describe(this.#native), 'describe') ?? '').slice(0, DESCRIPTOR_MAX)
  }
}

function newOwner(): string {
  return randomBytes(12).toString('base64url')
}
