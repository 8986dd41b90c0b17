import { SessionError, UsageError } from '../errors.js'
import { isPromise, type MaybePromise } from '../maybe-promise.js'
import { clearingLine, cookieLine, type CookiePolicy, isLostOnPlainHttp, LOST_ON_PLAIN_HTTP } from './cookie.js'
import { keyOf, nonce, type SessionId } from './id.js'
import type { SessionEffects } from './fields.js'
import { decideOutcome, type SessionFacts, type SessionOutcome } from './outcome.js'
import { emptyData, type PayloadChange, SessionPayload, UnreadableError } from './payload.js'
import type { SessionRead, SessionRequest } from './session-request.js'
import type { LoadedRecord, LoadReply } from './session-store.js'
import { type Made, type SessionContext, SECOND_US, SessionWriter } from './session-writer.js'
import { isOutage } from './store-problems.js'
import { Taken } from './taken.js'
import type { SessionData } from './types.js'

type State = SessionFacts['state'] | 'skipped'

/**
 * The session of one request: its data, and what becomes of it with the response. There is one for anonymous requests,
 * too, which costs nothing until something is written.
 */
export class Session {
  readonly #context: SessionContext
  readonly #request: SessionRequest<Session>
  readonly #cookie: CookiePolicy
  /** Monotonic. */
  readonly #startedAt = performance.now()
  /** Of requests that ask the store. */
  #asker: SessionWriter | undefined
  #state: State
  #id: SessionId | undefined
  #record: LoadedRecord | undefined
  #payload: SessionPayload | undefined
  #accessed = false
  #onRead: ((what: SessionRead) => void) | undefined
  #ended = false
  #rotates = false
  #touches = false
  #setCookie: string | undefined
  #committing: Promise<void> | undefined
  #ending: Taken | undefined
  /** Why the session could not be loaded. */
  #outage: SessionError | undefined
  /** The last `save()` that failed, and what it was to save. */
  #failed: { readonly saving: Taken; readonly change: string } | undefined
  /** Of a session that is not there yet: its properties may have to be encrypted for it. */
  #nextHandle: string | undefined

  /** @internal Made by `Sessions.open`. */
  constructor(
    context: SessionContext,
    request: SessionRequest<Session>,
    cookie: CookiePolicy,
    id: SessionId | undefined,
    state: 'none' | 'skipped',
  ) {
    this.#context = context
    this.#request = request
    this.#cookie = cookie
    this.#id = id
    this.#state = state
  }

  /** @internal Whether it was opened with these options. */
  isOf(context: SessionContext | undefined): boolean {
    return this.#context === context
  }

  /**
   * The properties of the session; changes, nested ones too, are saved with the response. Throws UsageError where the
   * request was left out by `skip`.
   */
  get data(): SessionData {
    return this.#read().data
  }

  /** Identifies the session in lists of devices; it cannot be used to sign in. Undefined before the first save. */
  get handle(): string | undefined {
    this.markRead()
    return this.#state === 'loaded' ? this.#id?.handle : undefined
  }

  /** The signed-in user, or the owner from `subject`; undefined if no user is signed in. */
  get subject(): string | undefined {
    const { data, identity } = this.#read('subject')
    return identity === undefined ? undefined : this.#context.policy.subject(data)
  }

  /** When the session was created; undefined before the first save. */
  get createdAt(): Date | undefined {
    return dateOf(this.#seen()?.createdAt)
  }

  /** The last sign-in or rotation; undefined before the first save. */
  get issuedAt(): Date | undefined {
    return dateOf(this.#seen()?.issuedAt)
  }

  /** When it ends even if it is used; undefined before the first save. */
  get expiresAt(): Date | undefined {
    return dateOf(this.#seen()?.deadlineAt)
  }

  /** False: Redis could not be asked about this session; its data is that of an anonymous request. */
  get available(): boolean {
    this.markRead()
    return this.effects.available
  }

  /** The `Set-Cookie` line to send, where there is one. Adapters send it; elsewhere it is yours to send. */
  get setCookie(): string | undefined {
    this.markRead()
    return this.#setCookie
  }

  /**
   * Gives the session another id when the request succeeds, as a sign-in does: when a password was confirmed again, or the
   * user who signs in is signed in already. Throws UsageError where the response has been sent.
   */
  rotate(): void {
    this.#checkCookie()
    this.#rotates = true
  }

  /** Restarts the idle clock with the next save: that of the response, or `save()` on a connection that lasts. */
  touch(): void {
    this.#touches = true
  }

  /**
   * Saves now, regardless of the response. Rejects with SessionError if the session has ended, belongs to another
   * principal now, or Redis does not answer; then the response does not try to save the same changes again.
   */
  save(): Promise<void> {
    const work = new Promise<void>((resolve) => resolve(this.commit(true, true)))
    if (!this.#hasResponse) return work
    const saving = Taken.of(work)
    // Before the handler goes on.
    void work.catch(() => (this.#failed = { saving, change: this.#pending() }))
    return saving
  }

  /**
   * Signs out: the session is gone when this resolves, and its cookie with the response. Data begins anew. Rejects with
   * SessionError where Redis does not answer; the cookie goes even then.
   */
  end(): Promise<void> {
    const end = async (): Promise<void> => {
      await this.#committing?.catch(() => {})
      return this.#endNow()
    }
    return this.#hasResponse ? (this.#ending = Taken.of(end())) : end()
  }

  /**
   * @internal Who is signed in now, for the cache: a response does not depend on the session by that alone. The principal,
   * because several may be one subject.
   */
  peekPrincipal(): string | undefined {
    this.#onRead?.('principal')
    if (this.#payload === undefined && this.#state !== 'loaded') return undefined
    this.#payload ??= this.#makePayload()
    return this.#context.policy.principal(this.#payload.data)
  }

  /** @internal Seconds since the id was issued; undefined where there is no session. */
  get issuedForSeconds(): number | undefined {
    const record = this.#record
    if (record === undefined || this.#state !== 'loaded') return undefined
    return (record.now - record.issuedAt) / SECOND_US + (performance.now() - this.#startedAt) / 1000
  }

  /** @internal What the session changes in the response. Reading this does not count as reading the session. */
  get effects(): SessionEffects {
    return { setCookie: this.#setCookie, accessed: this.#accessed, available: this.#state !== 'unavailable' }
  }

  /** @internal Calls the listener whenever the session is read from now on. */
  onRead(listener: ((what: SessionRead) => void) | undefined): void {
    this.#onRead = listener
  }

  /** @internal For hosts whose applications hold the data itself. */
  markRead(what: SessionRead = 'data'): void {
    if (!this.#accessed && this.#request.isStreaming?.() === true) this.#context.warnOnce(LATE_READ)
    this.#accessed = true
    this.#onRead?.(what)
  }

  /** @internal The epoch by which `revokeAll` spares it. */
  get binding(): { readonly tag: string; readonly handle: string; readonly epoch: string } | undefined {
    const [id, record] = [this.#id, this.#record]
    if (id?.tag === undefined || record === undefined || this.#state !== 'loaded') return undefined
    return { tag: id.tag, handle: id.handle, epoch: record.epoch }
  }

  /** @internal This request has revoked what its own sign-in must not be refused by. */
  knows(epoch: string): void {
    this.#writer.knows(epoch)
  }

  /** @internal Loads what the cookie names. `fail` by the policy throws SessionError. */
  load(): MaybePromise<this> {
    const id = this.#id
    if (id === undefined) return this
    const { store, policy, telemetry, problems } = this.#context
    const done = (reply: LoadReply): this => {
      this.#loaded(reply)
      problems.worked('load')
      telemetry.record('load', this.#state, performance.now() - this.#startedAt)
      return this
    }
    const failed = (error: unknown): this => {
      if (!isOutage(error)) throw error
      this.#state = 'unavailable'
      telemetry.record('load', 'unavailable', performance.now() - this.#startedAt)
      this.#outage = problems.sessionError('load', error)
      if (policy.failClosed) throw this.#outage
      return this
    }
    try {
      const reply = store.load(keyOf(id), policy.refreshOnLoad ? policy.idleMs : 0, this.#writer.deadline())
      return isPromise(reply) ? reply.then(done, failed) : done(reply)
    } catch (error) {
      return failed(error)
    }
  }

  /** @internal Puts an empty object in the place of the data; what is stored is replaced by it, under another id. */
  regenerate(holder: SessionData): void {
    const payload = this.#read()
    this.#checkCookie()
    this.#rotates = this.#state === 'loaded' || this.#isUnknown
    this.#payload = payload.replacedBy(holder as Record<string, unknown>, this.#isUnknown)
  }

  /** @internal Does what the response makes of the session. `success`: a status below 400. `isSave`: the handler asks. */
  commit(success: boolean, isSave = false): MaybePromise<void> {
    if (this.#request.isRefresh === true) return undefined
    if (this.#committing !== undefined) return this.#committing.catch(() => {}).then(() => this.commit(success, isSave))
    const ending = this.#ending
    this.#ending = undefined
    if (ending !== undefined) return ending.forResponse().then(() => this.commit(success, isSave))
    // The handler knows that this cannot be saved, and the answer is its own.
    if (!isSave && this.#failed?.saving.isTaken === true && this.#failed.change === this.#pending()) return undefined
    // Whose session it is has to be known.
    if (this.#rotates && this.#state === 'loaded') this.#payload ??= this.#makePayload()
    const change = this.#change()
    const outcome = decideOutcome(this.#facts(change, success))
    if (outcome === 'nothing') return undefined
    const committing = this.#timed('commit', () => this.#act(outcome, change), outcome).finally(() => {
      this.#committing = undefined
    })
    this.#committing = committing
    return committing
  }

  get #writer(): SessionWriter {
    return (this.#asker ??= new SessionWriter(this.#context, this.#request.native, this.#startedAt))
  }

  async #endNow(): Promise<void> {
    const [state, id] = [this.#state, this.#id]
    if (state === 'moved') throw new SessionError('moved')
    this.#reset()
    if (id === undefined) return
    this.#ended = true
    this.#setCookie = clearingLine(this.#cookie)
    if (state === 'loaded') await this.#timed('end', () => this.#writer.end(id, undefined))
    // Nothing has shown that the handle is the client's own.
    else if (state === 'unavailable') await this.#timed('end', () => this.#writer.end(id, id.digest))
  }

  #loaded(reply: LoadReply): void {
    if (typeof reply === 'string') this.#state = reply
    else {
      this.#state = 'loaded'
      this.#record = reply
    }
  }

  /** Of those that `Sessions.load` returns, all that goes wrong is the caller's. */
  get #hasResponse(): boolean {
    return this.#request.isSent !== undefined
  }

  #read(what: SessionRead = 'data'): SessionPayload {
    if (this.#state === 'skipped') throw new UsageError('`skip` has excluded this request from sessions.')
    this.markRead(what)
    this.#payload ??= this.#makePayload()
    return this.#payload
  }

  #checkCookie(): void {
    if (this.#request.isSent?.() === true) throw new UsageError(TOO_LATE)
  }

  /** A session is there, or may be, whose data this request does not have. */
  get #isUnknown(): boolean {
    return this.#state === 'unavailable' || this.#state === 'moved'
  }

  #seen(): LoadedRecord | undefined {
    this.markRead()
    return this.#record
  }

  #makePayload(): SessionPayload {
    const { policy, telemetry, warnOnce } = this.#context
    const holder = () => (this.#request.holder?.(this) ?? emptyData()) as Record<string, unknown>
    // A session that begins has another handle than the one that its cookie named, for which values may be encrypted.
    const handle = this.#record === undefined ? undefined : this.#id?.handle
    try {
      return new SessionPayload(policy, this.#record?.properties ?? [], handle, holder(), this.#isUnknown)
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error
      telemetry.record('load', 'unreadable', 0)
      warnOnce(`redwell: a session in Redis is ignored because ${error.message}.`)
      this.#reset()
      this.#state = 'absent'
      return new SessionPayload(policy, [], undefined, holder())
    }
  }

  /** Undefined: the data was not touched. */
  #change(): PayloadChange | undefined {
    if (this.#payload === undefined) return undefined
    if (this.#state === 'loaded') return this.#payload.change(this.#id?.handle)
    this.#nextHandle ??= nonce()
    return this.#payload.change(this.#nextHandle)
  }

  /** What the next commit is to save, to compare. */
  #pending(): string {
    return JSON.stringify([this.#payload?.texts(), this.#payload?.writes, this.#rotates, this.#touches])
  }

  #facts(change: PayloadChange | undefined, success: boolean): SessionFacts {
    return {
      state: this.#state === 'skipped' ? 'none' : this.#state,
      ended: this.#ended,
      changed: change !== undefined && change.set.length + change.removed.length + (this.#payload?.writes ?? 0) > 0,
      empty: change?.empty ?? false,
      principal: this.#payload?.principalChange() ?? 'same',
      rotates: this.#rotates,
      touches: this.#touches,
      success,
    }
  }

  async #act(outcome: SessionOutcome, change: PayloadChange = NO_CHANGE): Promise<void> {
    if (outcome === 'create' || outcome === 'rotate') this.#checkCookie()
    switch (outcome) {
      case 'moved':
      case 'unavailable':
        throw this.#outage ?? new SessionError(outcome)
      case 'clear-cookie':
        this.#setCookie = clearingLine(this.#cookie)
        return
      case 'create':
        return this.#became(await this.#writer.create(this.#nextHandle ?? nonce(), this.#read().data, change), change)
      case 'rotate': {
        const [id, record] = this.#current()
        const isSame = this.#read().principalChange() === 'same'
        return this.#became(await this.#writer.rotate(id, record, { data: this.#read().data, isSame, change }), change)
      }
      case 'end': {
        const lost = this.#state === 'unavailable' && change.set.length > 0
        await this.#endNow()
        if (lost) throw this.#outage ?? new SessionError('unavailable')
        return
      }
      case 'touch':
      case 'write':
        await this.#writer.save(...this.#current(), change, this.#touches)
        return this.#saved(change)
      case 'nothing':
      case 'suppress':
    }
  }

  #became({ id, record, maxAge }: Made, change: PayloadChange): void {
    this.#id = id
    this.#record = record
    this.#state = 'loaded'
    this.#nextHandle = undefined
    this.#setCookie = cookieLine(this.#cookie, id, maxAge)
    if (isLostOnPlainHttp(this.#cookie, this.#request.peer?.())) this.#context.warnOnce(LOST_ON_PLAIN_HTTP)
    this.#saved(change)
  }

  #saved(change: PayloadChange): void {
    this.#payload?.commit(change)
    this.#rotates = false
    this.#touches = false
  }

  #reset(): void {
    // Later changes of the old data throw, because they would not be saved.
    if (this.#payload !== undefined && this.#request.holder === undefined) Object.freeze(this.#payload.data)
    this.#payload = undefined
    this.#record = undefined
    this.#id = undefined
    this.#state = 'none'
    this.#rotates = false
  }

  #current(): [SessionId, LoadedRecord] {
    if (this.#id === undefined || this.#record === undefined) throw new SessionError('ended')
    return [this.#id, this.#record]
  }

  /** One error for every command that Redis does not answer. */
  async #timed(operation: 'commit' | 'end', work: () => Promise<void>, outcome = 'ended'): Promise<void> {
    const { telemetry, problems } = this.#context
    const since = performance.now()
    const record = (result: string): void => telemetry.record(operation, result, performance.now() - since)
    const name = operation === 'end' ? operation : outcome
    try {
      await work()
      record(outcome)
      problems.worked(name)
    } catch (error) {
      const problem = isOutage(error) ? problems.sessionError(name, error) : error
      record(problem instanceof SessionError ? problem.reason : 'error')
      throw problem
    }
  }
}

const TOO_LATE =
  'A session cannot begin or change its id after the response was sent: the cookie would be lost. Sign in, sign out, rotate and write to a new session before.'

const LATE_READ =
  'redwell: a session was read for the first time while its response was being sent, so the response has neither `private` nor `Vary: Cookie`. Read the session before the first byte.'

const NO_CHANGE: PayloadChange = { set: [], removed: [], empty: false, written: [] }

function dateOf(us: number | undefined): Date | undefined {
  return us === undefined ? undefined : new Date(us / 1000)
}
