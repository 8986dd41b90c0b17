import { isPromise, type MaybePromise } from '../maybe-promise.js'
import type { FillLease } from '../cache/fill.js'
import {
  decideStore,
  freshen,
  type Freshened,
  gatewayTimeout,
  type HeaderList,
  headUpdate,
  type HttpPolicy,
  isFailure,
  type OutgoingResponse,
  buildMissResponse,
  type RefusalReason,
  type StoredResponseContext,
  type RequestPlan,
  type ResponseHead,
  type Storable,
  type StoreDecision,
  type StoredResponse,
  type ReuseDecision,
  withBody,
} from '../http/index.js'
import type { Entry } from '../store/entry.js'
import { Capture } from './capture.js'
import { checkedNames } from './entry-key.js'
import { type RequestFields, requestFields } from './handler-request.js'
import type { RequestContext } from './request.js'
import { type Stored, withoutFields } from './runs.js'

export interface Streamed {
  /** Send this, and end the stream: the handler has failed, and a stored response stands in. */
  readonly instead?: OutgoingResponse | undefined
  readonly headers: HeaderList
  /** Takes a copy of the body on its way out; undefined: nobody wants one. */
  readonly capture: Capture | undefined
}

/** One run of a route's handler. Ends with exactly one of finish, stream, fail and abandon. */
export class HandlerRun {
  /** Fields of the request that the handler has to see otherwise than the client sent them. */
  readonly requestFields: RequestFields
  readonly #request: RequestContext<unknown>
  readonly #plan: RequestPlan
  readonly #fill: FillLease | undefined
  readonly #before: Before | undefined
  readonly #controls: RunControls
  readonly #requestedAt: number
  #groups: readonly string[] = []
  #unkeyedRead: string | undefined
  /** The lease is somebody else's to end from here on. */
  #settled = false

  constructor(
    request: RequestContext<unknown>,
    plan: RequestPlan,
    fill: FillLease | undefined,
    before: Before | undefined,
    controls: RunControls,
  ) {
    this.#request = request
    this.#plan = plan
    this.#fill = fill
    this.#before = before
    this.#controls = controls
    this.#requestedAt = controls.now()
    this.requestFields = requestFields(plan, controls.policy, fill !== undefined, before, controls.others)
  }

  /** Whether what the handler answers may be stored. */
  get stores(): boolean {
    return this.#fill !== undefined
  }

  /** Request fields that select the response: what a refresh of it has to send. */
  get keyedFields(): readonly string[] {
    return this.#controls.keyedFields
  }

  /** Request fields whose reading by the handler is to be told to `noteRead`. Empty where it makes no difference. */
  get watched(): readonly string[] {
    return this.#fill === undefined ? NO_NAMES : this.#controls.watched
  }

  /** The handler has read a field that is not part of the key: its answer is for this client alone. */
  noteRead(name: string): void {
    this.#unkeyedRead ??= name
  }

  /** The handler names groups that its response belongs to. Throws OptionsError for what is no name. */
  addGroups(names: readonly string[]): void {
    this.#groups = [...this.#groups, ...checkedNames(names)]
  }

  /**
   * The whole response is at hand. Gives what to send. `ambient` are fields (lower case) that were set before the
   * handler ran, such as a request id: they are this answer's, not the representation's, and are not stored.
   */
  finish(
    response: ResponseHead,
    body: Buffer,
    ambient: ReadonlySet<string> = NO_FIELDS,
  ): MaybePromise<OutgoingResponse> {
    const instead = this.#insteadOf(response)
    if (instead !== undefined) return instead
    const now = this.#controls.now()
    if (response.status === 304 && this.#plan.outcome === 'lookup') return this.#notModified(response, body, now)
    if (this.#plan.head) this.#update(response, now)
    const decision = this.#decide(response, body, now)
    const concluding = this.#conclude(response, decision, body, ambient)
    if (concluding !== undefined) {
      return isPromise(concluding)
        ? concluding.then((stored) => this.#present(response, decision, body, now, stored))
        : this.#present(response, decision, body, now, concluding)
    }
    const outgoing = this.#present(response, decision, body, now, this.stores)
    const settling = this.#settle(decision, body, ambient)
    return settling === undefined ? outgoing : settling.then(() => outgoing)
  }

  /** The head is there and the body is on its way. Gives the fields to send; the body is captured beside its way out. */
  stream(response: ResponseHead, ambient: ReadonlySet<string> = NO_FIELDS): MaybePromise<Streamed> {
    const instead = this.#insteadOf(response)
    if (instead !== undefined) return { instead, headers: instead.headers, capture: undefined }
    const now = this.#controls.now()
    if (this.#plan.head) this.#update(response, now)
    const decision = this.#decide(response, undefined, now)
    const headers = (stored: boolean): Streamed => ({
      headers: this.#present(response, decision, undefined, now, stored).headers,
      capture: undefined,
    })
    const later = this.#concludeLater(response, decision, ambient)
    if (later !== undefined) return { ...headers(true), capture: later }
    const concluding = this.#conclude(response, decision, undefined, ambient)
    if (concluding !== undefined) return isPromise(concluding) ? concluding.then(headers) : headers(concluding)
    const streamed = headers(this.stores)
    if (decision.store && this.#fill !== undefined) return { ...streamed, capture: this.#capture(decision, ambient) }
    void this.#settle(decision, undefined, ambient)
    return streamed
  }

  /**
   * The handler threw, or answered that it failed. Gives what is sent instead: a stale entry that may stand in, or 504
   * where the entry must be validated (RFC 9111 section 5.2.2.2).
   */
  fail(): OutgoingResponse | undefined {
    this.abandon()
    return this.#standIn()
  }

  #insteadOf({ status }: ResponseHead): OutgoingResponse | undefined {
    const instead = isFailure(status) ? this.#standIn() : undefined
    if (instead !== undefined) this.abandon()
    return instead
  }

  #standIn(): OutgoingResponse | undefined {
    if (this.#before === undefined) return undefined
    if (this.#before.verdict.servableOnError) return this.#controls.replay(this.#before.entry, 'error', false)
    return this.#before.verdict.mustRevalidate ? gatewayTimeout() : undefined
  }

  /** Nothing will be stored: the handler failed or its client went away. The next request may try. */
  abandon(): void {
    if (this.#settled) return
    this.#settled = true
    this.#controls.conclusion?.cancel()
    this.#fill?.release().catch(() => {})
  }

  #capture(decision: Storable, ambient: ReadonlySet<string>): Capture {
    const { policy } = this.#controls
    return new Capture(policy.maxBodyBytes, {
      complete: (body) => this.#settle(this.#whole(decision, body), body, ambient),
      abort: () => this.abandon(),
      tooLong: () =>
        void this.#settle(this.#refused({ store: false, reason: 'body-too-large', forKey: true }), undefined, ambient),
    })
  }

  /**
   * The handler says that something has not changed: the stored response, where it was asked about that (RFC 9111
   * section 4.3.3), otherwise what the client has, which is the client's alone.
   */
  #notModified(response: ResponseHead, body: Buffer, now: number): MaybePromise<OutgoingResponse> {
    if (!this.requestFields.validates) {
      this.abandon()
      return this.#present(response, { store: false, reason: 'status', forKey: false }, body, now, false)
    }
    const { policy, groupNames, others } = this.#controls
    const asked = this.#before === undefined ? others : [this.#before.entry]
    const facts = { groups: groupNames, unkeyedRead: this.#unkeyedRead }
    const validated = firstValidated(asked, (entry) =>
      freshen(entry, response, this.#request, this.#plan, policy, now, this.#requestedAt, facts),
    )
    if (validated === undefined) {
      this.abandon()
      return this.#controls.mismatch()
    }
    const { decision } = validated
    const outgoing = this.#controls.replay(validated.response, 'revalidated', decision.store && this.stores)
    const settling = this.#settleFreshened(validated)
    return settling === undefined ? outgoing : settling.then(() => outgoing)
  }

  #settleFreshened({ decision, response, entry }: Validated): Promise<void> | undefined {
    return this.#settle(decision.store ? decision : this.#refused(decision), response.body, NO_FIELDS, entry)
  }

  /** A HEAD may tell that the stored GET is current, or that it is not any more (RFC 9111 section 4.3.5). */
  #update(response: ResponseHead, now: number): void {
    if (this.#before === undefined || this.#fill === undefined || this.#settled) return
    const { policy } = this.#controls
    const { entry } = this.#before
    const update = headUpdate(entry, response, this.#request, this.#plan, policy, now, this.#requestedAt)
    if (update.kind === 'freshened') void this.#settleFreshened({ ...update, entry })
    if (update.kind !== 'stale') return
    this.#settled = true
    this.#controls.replace(this.#fill, { ...entry, ...update.response })
  }

  /** Of an unsafe request: everything it changes is changed before its answer leaves. Undefined: it is none. */
  #conclude(
    response: ResponseHead,
    decision: StoreDecision,
    body: Buffer | undefined,
    ambient: ReadonlySet<string>,
  ): MaybePromise<boolean> | undefined {
    const { conclusion } = this.#controls
    if (conclusion === undefined || this.#settled) return undefined
    this.#settled = true
    const stored = decision.store && body !== undefined ? this.#stored(decision, body, ambient) : undefined
    return conclusion.conclude(response, stored)
  }

  /** Of an unsafe request whose answer is what a GET would give: when its body is complete. */
  #concludeLater(response: ResponseHead, decision: StoreDecision, ambient: ReadonlySet<string>): Capture | undefined {
    const { conclusion, policy } = this.#controls
    if (conclusion === undefined || !decision.store || this.#settled) return undefined
    this.#settled = true
    const unstored = (): void => void conclusion.conclude(response, undefined)
    return new Capture(policy.maxBodyBytes, {
      complete: (body) => {
        const whole = this.#whole(decision, body)
        return conclusion.conclude(response, whole.store ? this.#stored(whole, body, ambient) : undefined)
      },
      abort: unstored,
      tooLong: unstored,
    })
  }

  /** A streamed body is there. Its head has left without an ETag of ours, so a hit has none either (I6). */
  #whole(decision: Storable, body: Buffer): StoreDecision {
    return withBody(decision, body, { ...this.#controls.policy, etag: false })
  }

  #decide(response: ResponseHead, body: Buffer | undefined, now: number): StoreDecision {
    const { policy, groupNames } = this.#controls
    const facts = { body, unkeyedRead: this.#unkeyedRead, groups: groupNames }
    const decision = decideStore(this.#request, this.#plan, response, policy, now, this.#requestedAt, facts)
    // A failure is no reason for others not to wait for one another.
    if (!decision.store) return this.#refused(isFailure(response.status) ? { ...decision, forKey: false } : decision)
    if (this.#controls.acceptGroups([...this.#groups, ...decision.groups])) return decision
    return this.#refused({ store: false, reason: 'too-many-groups', forKey: true })
  }

  #refused(refused: Extract<StoreDecision, { store: false }>): StoreDecision {
    if (this.#fill !== undefined) this.#controls.refuse(refused.reason, this.#unkeyedRead)
    return refused
  }

  #present(
    response: ResponseHead,
    decision: StoreDecision,
    body: Buffer | undefined,
    now: number,
    stored: boolean,
  ): OutgoingResponse {
    const { policy, varyMiss, detail } = this.#controls
    const reason = decision.store ? detail : (detail ?? decision.reason)
    const facts = {
      stored,
      verdict: this.#before?.verdict,
      varyMiss,
      detail: this.#plan.reason === 'method' ? undefined : (this.#plan.reason ?? reason),
    }
    const presented = buildMissResponse(this.#request, this.#plan, response, body, decision, policy, now, facts)
    return { ...presented, body: presented.body === undefined ? (body ?? null) : presented.body }
  }

  /** What may not be stored for anybody lets all requests of the key run side by side; otherwise the next one may try. */
  #settle(
    decision: StoreDecision,
    body: Buffer | undefined,
    ambient: ReadonlySet<string>,
    freshened?: Entry,
  ): Promise<void> | undefined {
    if (this.#fill === undefined || this.#settled) return undefined
    if (decision.store && body !== undefined) {
      this.#settled = true
      return this.#controls.store(this.#fill, this.#stored(decision, body, ambient, freshened))
    }
    if (decision.store || !decision.forKey) this.abandon()
    else {
      this.#settled = true
      this.#controls.pass(this.#fill)
    }
    return undefined
  }

  #stored(decision: Storable, body: Buffer, ambient: ReadonlySet<string>, freshened?: Entry): Stored {
    return {
      decision: withoutFields(decision, ambient),
      body,
      groups: [...this.#groups, ...decision.groups],
      kept: freshened?.groups,
    }
  }
}

const NO_FIELDS: ReadonlySet<string> = new Set()

const NO_NAMES: readonly string[] = []

/** What stood at the key and could not answer. */
export interface Before {
  readonly entry: Entry
  readonly verdict: ReuseDecision
}

/** What a run needs of its route. */
export interface RunControls {
  readonly policy: HttpPolicy
  /** Request fields that select the response. */
  readonly keyedFields: readonly string[]
  /** Credential fields that do not. */
  readonly watched: readonly string[]
  /** Groups of the route, as Cache-Groups tells them. */
  readonly groupNames: readonly string[]
  /** Entries exist for other variants. */
  readonly varyMiss: boolean
  /** Stored for other variants, where the handler is asked about them. */
  readonly others: readonly Entry[]
  /** For Cache-Status: why the store was not asked. */
  readonly detail: string | undefined
  /** Of a request by an unsafe method. */
  readonly conclusion: Conclusion | undefined
  readonly now: () => number
  /** A promise where the answer has to wait: a path whose variants are not known yet. */
  store(fill: FillLease, stored: Stored): Promise<void> | undefined
  /** Puts an entry in the place of the one that was read. */
  replace(fill: FillLease, entry: Entry): void
  /** The response may not be stored: others need not wait for one another. */
  pass(fill: FillLease): void
  refuse(reason: RefusalReason, field: string | undefined): void
  /** Whether an entry of the route may carry these groups beside its own. */
  acceptGroups(names: readonly string[]): boolean
  /** The answer that a stored response gives to this request. */
  replay(stored: StoredResponse, kind: StoredResponseContext['kind'], isStored: boolean): OutgoingResponse
  /** The handler validated another representation than it was asked about: the entry goes, and this is the answer. */
  mismatch(): MaybePromise<OutgoingResponse>
}

/** How a request by an unsafe method ends. */
export interface Conclusion {
  /** Invalidates what its success changes, and stores what it stands for. Gives whether that was stored. */
  conclude(response: ResponseHead, stored: Stored | undefined): MaybePromise<boolean>
  /** The handler threw, or its client went away. */
  cancel(): void
}

/** A stored response that the handler has validated. */
export interface Validated extends Freshened {
  readonly entry: Entry
}

/** Which of the stored responses a 304 is about, with its fields (RFC 9111 section 4.3.4). */
export function firstValidated(
  entries: readonly Entry[],
  freshened: (entry: Entry) => Freshened | 'mismatch',
): Validated | undefined {
  for (const entry of entries) {
    const found = freshened(entry)
    if (found !== 'mismatch') return { ...found, entry }
  }
  return undefined
}
