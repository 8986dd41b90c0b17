import type { FillLease } from '../cache/fill-lease.js'
import { groupProblems } from '../cache/key.js'
import {
  buildMissResponse,
  buildStoredResponse,
  declaredLength,
  decideStore,
  endFreshness,
  freshen,
  type Freshened,
  gatewayTimeout,
  type HeaderList,
  hasNonce,
  headUpdate,
  isFailure,
  OutgoingResponse,
  type Refused,
  type ResponseHead,
  type RunContext,
  type Storable,
  type StoreDecision,
  type StoredResponse,
  type StoredResponseContext,
  isTruncated,
  withBody,
} from '../http/index.js'
import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import { BodyCopy, type Capture, type CaptureTarget, EndOfWrite, type Streamed } from './capture.js'
import type { Stored } from './stored.js'
import { hasOtherOwner } from './principal.js'
import { isWanted, Result } from './result.js'
import type { RunRoute } from './run-route.js'
import type { Selector } from './selector.js'
import {
  type BackgroundRun,
  HandlerReport,
  keyedFields,
  type RequestState,
  isWorse,
  type RequestFields,
  requestFields,
} from './request.js'
import type { WriteSession } from './write-session.js'

/** One run of a route's handler: owns the lease of its request, or its turn. Ends with exactly one of finish, stream, fail and abandon. */
export class HandlerRun extends HandlerReport implements BackgroundRun {
  /** Fields of the request that the handler has to see otherwise than the client sent them. */
  readonly requestFields: RequestFields
  readonly watched: readonly string[]
  /** @internal */
  readonly state: RequestState<unknown>
  /** @internal */
  readonly route: RunRoute
  /** @internal Its response was stored, or is on its way to the store. */
  stored = false
  /** @internal Of a background run: its request has come to the route. */
  taken = false
  /** @internal Of a request by an unsafe method. */
  readonly session: WriteSession | undefined
  readonly #requestedAt: number
  #ambient: ReadonlySet<string> = NO_FIELDS
  #hasOtherOwner = false
  /** Its lease has ended, or ends with what is being stored. */
  #settled = false
  #answer: OutgoingResponse | undefined = undefined

  constructor(route: RunRoute, state: RequestState<unknown>, session?: WriteSession) {
    super()
    const { location, lease } = state
    this.route = route
    this.state = state
    this.session = session
    this.#requestedAt = route.scope.now()
    const stores = lease !== undefined || session?.stores === true
    this.watched = stores && location !== undefined ? route.variants.unkeyed(state.http, location) : NONE
    this.requestFields = requestFields(state, state.http)
  }

  get selectors(): readonly Selector[] {
    return this.route.selectors(this.state)
  }

  get keyedFields(): BackgroundRun['keyedFields'] {
    const { location } = this.state
    return location === undefined ? [] : keyedFields(this.state, this.route.variants.names(location))
  }

  /** Whether what the handler answers may be stored. */
  get stores(): boolean {
    return this.state.lease !== undefined
  }

  /** @internal What its client is sent; undefined while it is not known, or where it is for the client of the run alone. */
  get answer(): OutgoingResponse | undefined {
    return this.unkeyedReads.size === 0 ? this.#answer : undefined
  }

  /**
   * The whole response is at hand. Returns what to send. `ambient` are fields (lower case) that were set before the
   * handler ran, such as a request id: they are this answer's, not the representation's, and are not stored.
   */
  finish(
    response: ResponseHead,
    body: Buffer,
    ambient: ReadonlySet<string> = NO_FIELDS,
  ): MaybePromise<OutgoingResponse> {
    this.#ambient = ambient
    return this.#guarded(() => chain(this.#askAgain(), () => this.#finish(response, body)))
  }

  /** The head is there and the body is on its way. Returns the fields to send; the body is captured while it leaves. */
  stream(response: ResponseHead, ambient: ReadonlySet<string> = NO_FIELDS): MaybePromise<Streamed> {
    this.#ambient = ambient
    return this.#guarded(() => chain(this.#askAgain(), () => this.#stream(response)))
  }

  /**
   * The handler threw or timed out. Returns what is sent instead: a stale entry within its stale-if-error window, or
   * 504 where the entry must be validated (RFC 9111 section 5.2.2.2).
   */
  fail(): OutgoingResponse | undefined {
    this.abandon()
    const { previous } = this.state
    if (previous?.decision.servableOnError !== true)
      return previous?.decision.mustRevalidate ? gatewayTimeout() : undefined
    this.route.recorder.staleIfError()
    return this.#storedResponse(previous.shown, 'error', false)
  }

  /** The client has left before the handler has answered: it may go on, and its response counts, for a while. */
  clientLeft(): void {
    const { lease, turn } = this.state
    lease?.clientLeft()
    turn?.endWithin(this.route.scope.fills.leaseMs)
  }

  /** Nothing will be stored: the handler failed, or the client of its stream left. The next request may try. */
  abandon(): void {
    this.state.turn?.end()
    if (this.#settled) return
    this.#settled = true
    void this.state.lease?.release()
  }

  /** The handler has answered. The one place where a lease ends even if something throws. */
  #guarded<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    this.state.turn?.end()
    const failed = (error: unknown): never => {
      // Though storing may have begun; nothing happens where the lease has ended.
      this.#settled = true
      void this.state.lease?.release()
      throw error
    }
    try {
      const working = work()
      return isPromise(working) ? working.catch(failed) : working
    } catch (error) {
      return failed(error)
    }
  }

  /** Somebody else may be asking since the lookup. */
  #askAgain(): MaybePromise<void> {
    if (!this.stores && this.session?.stores !== true) return
    const { request, location } = this.state
    return chain(hasOtherOwner(request, location?.principal, this.route.policy), (isOther) => {
      this.#hasOtherOwner = isOther
    })
  }

  #finish(response: ResponseHead, body: Buffer): MaybePromise<OutgoingResponse> {
    const instead = this.#insteadOf(response)
    if (instead !== undefined) return instead
    const now = this.route.scope.now()
    const { plan } = this.state
    if (response.status === 304 && plan.bypass === undefined) return this.#notModified(response, body, now)
    if (plan.head) this.#updateByHead(response, now)
    const decision = this.#decide(response, body, now)
    return chain(this.#settle(response, decision, body), (stored) => {
      this.#answer = this.#missResponse(response, decision, body, now, stored)
      return this.#answer
    })
  }

  #stream(response: ResponseHead): MaybePromise<Streamed> {
    const instead = this.#insteadOf(response)
    if (instead !== undefined) return { instead, headers: instead.headers, capture: undefined }
    const now = this.route.scope.now()
    if (this.state.plan.head) this.#updateByHead(response, now)
    const decision = this.#decide(response, undefined, now)
    const headersOf = (stored: boolean) => this.#missResponse(response, decision, undefined, now, stored).headers
    if (decision.store && (this.stores || this.session !== undefined) && !this.#settled) {
      const headers = headersOf(true)
      return { headers, capture: this.#capture(response, decision, headers) }
    }
    return chain(this.#settle(response, decision), (stored) => ({
      headers: headersOf(stored),
      capture: this.#end(response),
    }))
  }

  /** What an unsafe request has invalidated with its head, it may change until its end. */
  #end(response: ResponseHead): Capture | undefined {
    const effects = this.session?.effects
    return effects?.any === true ? new EndOfWrite(() => effects.repeat(), declaredLength(response)) : undefined
  }

  #capture(response: ResponseHead, decision: Storable, headers: HeaderList): Capture {
    const target: CaptureTarget = {
      complete: (body) => {
        this.#answer = new OutgoingResponse(response.status, headers, body)
        const settle = () => this.#settle(response, this.#whole(response, decision, body), body)
        return this.#guarded(() => chain(this.#askAgain(), settle))
      },
      abort: (reason) => {
        const refused = { store: false, reason, forKey: reason === 'body-too-large' } as const
        void this.#guarded(() => this.#settle(response, reason === 'truncated' ? refused : this.#logged(refused)))
      },
      releaseWaiters: () => this.state.lease?.releaseWaiters(),
    }
    return new BodyCopy(this.state.http.maxBodyBytes, target, declaredLength(response))
  }

  /**
   * A streamed body is there. What the handler read on the way counts as well, and who asks now. The head has left
   * without an ETag of ours, so a hit has none either (I6).
   */
  #whole(response: ResponseHead, decision: Storable, body: Buffer): StoreDecision {
    const isAsBefore = this.unkeyedReads.size === 0 && !this.#hasOtherOwner
    const late = isAsBefore ? decision : this.#decide(response, undefined, this.#requestedAt)
    if (!late.store) return late
    if (isTruncated(response, body)) return { store: false, reason: 'truncated', forKey: false }
    if (!this.#wants(response, body)) return this.#logged(NOT_WANTED)
    if (this.state.http.unkeyedReads !== 'ignore' && hasNonce(response, body))
      return this.#logged({ store: false, reason: 'nonce', forKey: true })
    return withBody(decision, body, { ...this.state.http, etag: false })
  }

  /**
   * Stores what the response becomes, and for an unsafe request invalidates what it changes. Whether it was stored, or
   * is on its way to the store. A promise where the answer has to wait.
   */
  #settle(response: ResponseHead, decision: StoreDecision, body?: Buffer, validated?: Entry): MaybePromise<boolean> {
    if (this.#settled) return false
    const groups = decision.store ? [...this.groups, ...decision.groups] : NONE
    const stored =
      decision.store && body !== undefined ? { decision, body, groups, kept: validated?.groups } : undefined
    if (this.session !== undefined) {
      this.#settled = true
      return this.session.settle(response, stored)
    }
    if (this.state.lease === undefined) return false
    return stored === undefined ? this.#refuse(decision, this.state.lease) : this.#store(stored, this.state.lease)
  }

  /** The answer waits for a path whose variants were not known yet: its client may ask again at once. */
  #store(stored: Stored, lease: FillLease): MaybePromise<boolean> {
    const { request, location } = this.state
    if (location === undefined) return false
    this.#settled = true
    this.stored = true
    this.route.onStored(lease.ref.key)
    if (stored.body.length === 0 && stored.decision.entry.status === 200) this.route.refusals.storesNothing()
    const { done, learns } = this.route.variants.store(request, location, lease, stored)
    const storing = done.catch(() => lease.release()).then(() => true)
    this.route.track(storing)
    return learns ? storing : true
  }

  /** A response that may not be stored at all lets all requests of the key run side by side; otherwise the next may try. */
  #refuse(decision: StoreDecision, lease: FillLease): false {
    this.#settled = true
    const notes = !decision.store && decision.forKey && !this.state.forced
    this.route.track(notes ? lease.refuse() : lease.release())
    return false
  }

  /**
   * Only a stored response replaces a handler's 5xx: it is of more use than a 504 of ours. A 502 means that an origin
   * behind the handler could not be asked, as if the handler had thrown.
   */
  #insteadOf({ status }: ResponseHead): OutgoingResponse | undefined {
    const { servableOnError = false, mustRevalidate = false } = this.state.previous?.decision ?? {}
    if (!isFailure(status)) return undefined
    return servableOnError || (mustRevalidate && status === 502) ? this.fail() : undefined
  }

  /** The answer that a stored response is to this request. */
  #storedResponse(stored: StoredResponse, kind: StoredResponseContext['kind'], isStored: boolean): OutgoingResponse {
    const { plan, previous, http } = this.state
    const context = { kind, reuse: previous?.decision, stored: isStored }
    return buildStoredResponse(stored, plan, http, this.route.scope.now(), context)
  }

  #decide(response: ResponseHead, body: Buffer | undefined, now: number): StoreDecision {
    const { location } = this.state
    const decision = decideStore(response, this.#context(now, body))
    // After a failure, other requests still collapse.
    if (!decision.store) return this.#logged(isFailure(response.status) ? { ...decision, forKey: false } : decision)
    if (body !== undefined && !this.#wants(response, body)) return this.#logged(NOT_WANTED)
    if (isWorse(this.state, decision, now)) return { store: false, reason: 'partial', forKey: false }
    const groups = [...(location?.groups.slice(1) ?? NONE), ...this.groups, ...decision.groups]
    if (groups.length === 0 || groupProblems(groups).length === 0) return decision
    return this.#logged({ store: false, reason: 'too-many-groups', forKey: true })
  }

  #wants({ status }: ResponseHead, body: Buffer): boolean {
    return isWanted(this.route.policy, new Result(status, body), this.route.refusals)
  }

  /** The run, and what is known about it in addition to its response. */
  #context(now: number, body?: Buffer): RunContext {
    const { request, plan, location, http } = this.state
    return {
      request,
      plan,
      policy: http,
      now,
      requestedAt: this.#requestedAt,
      body,
      ambient: this.#ambient,
      unkeyedReads: this.unkeyedReads,
      hasOtherOwner: this.#hasOtherOwner,
      routeGroups: location?.names ?? NONE,
    }
  }

  #logged(refused: Refused): Refused {
    const { refusals, scope } = this.route
    if (this.stores)
      refusals.add(refused.reason, scope.now(), this.state.ref?.key, this.unkeyedReads.keys().next().value)
    return refused
  }

  #missResponse(
    response: ResponseHead,
    decision: StoreDecision,
    body: Buffer | undefined,
    now: number,
    stored: boolean,
  ): OutgoingResponse {
    const { plan, previous, varyMiss, detail: why } = this.state
    const detail = plan.bypass ?? why ?? (decision.store ? undefined : decision.reason)
    const facts = {
      stored,
      reuse: previous?.decision,
      varyMiss,
      detail: plan.bypass === 'method' ? undefined : detail,
    }
    return buildMissResponse(plan, response, body, decision, this.state.http, now, facts)
  }

  /**
   * The handler answers that nothing has changed: the stored response, where it was asked about that (RFC 9111
   * section 4.3.3), otherwise what the client has, which is the client's alone.
   */
  #notModified(response: ResponseHead, body: Buffer, now: number): MaybePromise<OutgoingResponse> {
    if (!this.requestFields.validates) {
      this.abandon()
      return this.#missResponse(response, { store: false, reason: 'status', forKey: false }, body, now, false)
    }
    const { previous, others } = this.state
    for (const entry of previous === undefined ? others : [previous.entry]) {
      const found = freshen(entry, response, this.#context(now))
      if (found !== 'mismatch') return this.#validated(found, entry, response)
    }
    return this.#mismatch()
  }

  /** The stored response with the fields of the 304 that is about it (RFC 9111 section 4.3.4). */
  #validated(found: Freshened, entry: Entry, notModified: ResponseHead): MaybePromise<OutgoingResponse> {
    const { decision, response } = found
    if (!decision.store) this.#logged(decision)
    return chain(this.#settle(notModified, decision, response.body, entry), () => {
      this.#answer = this.#storedResponse(response, 'revalidated', decision.store && this.stores)
      return this.#answer
    })
  }

  /**
   * The handler validated another representation than it was asked about: the entry goes, and the handler is asked once
   * more without conditions (RFC 9111 section 4.3.3). Where that cannot be, the client is sent what was stored.
   */
  async #mismatch(): Promise<OutgoingResponse> {
    this.abandon()
    const { ref, previous } = this.state
    if (ref !== undefined) await this.route.scope.evict({ paths: [ref.key] })
    const again = await this.route.rerun(this.state)
    if (again === undefined && previous?.decision.mustRevalidate === false)
      return this.#storedResponse(previous.shown, 'error', false)
    return again ?? gatewayTimeout()
  }

  /** A HEAD may confirm the stored GET, or show that it has changed (RFC 9111 section 4.3.5). */
  #updateByHead(response: ResponseHead, now: number): void {
    const { previous, lease } = this.state
    if (previous === undefined || lease === undefined || this.#settled) return
    const { entry } = previous
    const update = headUpdate(entry, response, this.#context(now))
    if (update === undefined) return
    if (update !== 'changed') {
      if (!update.decision.store) this.#logged(update.decision)
      return void this.#settle(response, update.decision, update.response.body, entry)
    }
    this.#settled = true
    const ended = endFreshness(entry, now)
    const ttlMs = usefulUntil(ended) - now
    const { scope } = this.route
    const replacing = ttlMs > 0 ? lease.publish(ended, ttlMs) : scope.evict({ paths: [lease.ref.key] })
    this.route.track(replacing.then(() => lease.release()))
  }
}

const NOT_WANTED = { store: false, reason: 'store-when', forKey: false } as const

const NO_FIELDS: ReadonlySet<string> = new Set()

const NONE: readonly string[] = []
