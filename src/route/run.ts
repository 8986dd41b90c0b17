import type { Fill } from '../cache/fill.js'
import { groupProblem } from '../cache/group.js'
import { OptionsError } from '../errors.js'
import {
  decideStore,
  gatewayTimeout,
  type HeaderList,
  type HttpPolicy,
  isFailure,
  type Outgoing,
  present,
  type RefusalReason,
  type RequestPlan,
  type ResponseHead,
  type Storable,
  type StoreDecision,
  type Verdict,
  withBody,
} from '../http/index.js'
import type { Entry } from '../store/entry.js'
import type { MaybePromise } from '../store/port.js'
import { Capture } from './capture.js'
import type { CacheRequest } from './request.js'
import type { Stored } from './stored.js'

/** What stood at the key and could not answer. */
export interface Before {
  readonly entry: Entry
  readonly verdict: Verdict
}

/** What a run needs of its route. */
export interface RunControls {
  readonly policy: HttpPolicy
  readonly keyedFields: readonly string[]
  readonly now: () => number
  /** A promise where the answer has to wait: a path whose variants are not known yet. */
  store(fill: Fill, stored: Stored): Promise<void> | undefined
  /** The response may not be stored: others need not wait for one another. */
  pass(fill: Fill): void
  refuse(reason: RefusalReason): void
  /** Whether an entry of the route may carry these groups beside its own. */
  acceptGroups(names: readonly string[]): boolean
  standIn(before: Before): Outgoing
}

/** One run of a route's handler. Ends with exactly one of finish, stream, fail and abandon. */
export class Run {
  readonly #request: CacheRequest<unknown>
  readonly #plan: RequestPlan
  readonly #fill: Fill | undefined
  readonly #before: Before | undefined
  readonly #controls: RunControls
  readonly #requestedAt: number
  #groups: readonly string[] = []
  /** The lease is somebody else's to end from here on. */
  #settled = false

  constructor(
    request: CacheRequest<unknown>,
    plan: RequestPlan,
    fill: Fill | undefined,
    before: Before | undefined,
    controls: RunControls,
  ) {
    this.#request = request
    this.#plan = plan
    this.#fill = fill
    this.#before = before
    this.#controls = controls
    this.#requestedAt = controls.now()
  }

  /** Whether what the handler answers may be stored. */
  get stores(): boolean {
    return this.#fill !== undefined
  }

  /** Request fields that select the response: what a refresh of it has to send. */
  get keyedFields(): readonly string[] {
    return this.#controls.keyedFields
  }

  /** The handler names groups that its response belongs to. Throws OptionsError for what is no name. */
  addGroups(names: readonly string[]): void {
    const problem = names.map(groupProblem).find((one) => one !== undefined)
    if (problem !== undefined) throw new OptionsError('groups of a response', [problem])
    this.#groups = [...this.#groups, ...names]
  }

  /**
   * The whole response is at hand. Gives what to send. `ambient` are fields (lower case) that were set before the
   * handler ran, such as a request id: they are this answer's, not the representation's, and are not stored.
   */
  finish(response: ResponseHead, body: Buffer, ambient: ReadonlySet<string> = NONE): MaybePromise<Outgoing> {
    const instead = isFailure(response.status) ? this.fail() : undefined
    if (instead !== undefined) return instead
    const now = this.#controls.now()
    const decision = this.#decide(response, body, now)
    const outgoing = this.#present(response, decision, body, now)
    const settling = this.#settle(decision, body, ambient)
    return settling === undefined ? outgoing : settling.then(() => outgoing)
  }

  /** The head is there and the body is on its way. Gives the fields to send; the body is captured beside its way out. */
  stream(
    response: ResponseHead,
    ambient: ReadonlySet<string> = NONE,
  ): { readonly headers: HeaderList; readonly capture: Capture | undefined } {
    const now = this.#controls.now()
    const decision = this.#decide(response, undefined, now)
    const { headers } = this.#present(response, decision, undefined, now)
    if (!decision.store || this.#fill === undefined) {
      void this.#settle(decision, undefined, ambient)
      return { headers, capture: undefined }
    }
    const capture = new Capture(this.#controls.policy.maxBodyBytes, {
      complete: (body) => void this.#settle(withBody(decision, body, this.#controls.policy), body, ambient),
      abort: () => this.abandon(),
      tooLong: () =>
        void this.#settle(this.#refused({ store: false, reason: 'body-too-large', forKey: true }), undefined, ambient),
    })
    return { headers, capture }
  }

  /**
   * The handler threw, or answered that it failed. Gives what is sent instead: a stale entry that may stand in, or 504
   * where the entry must be validated (RFC 9111 section 5.2.2.2).
   */
  fail(): Outgoing | undefined {
    this.abandon()
    if (this.#before === undefined) return undefined
    if (this.#before.verdict.servableOnError) return this.#controls.standIn(this.#before)
    return this.#before.verdict.mustRevalidate ? gatewayTimeout() : undefined
  }

  /** Nothing will be stored: the handler failed or its client went away. The next request may try. */
  abandon(): void {
    if (this.#settled) return
    this.#settled = true
    this.#fill?.release().catch(() => {})
  }

  #decide(response: ResponseHead, body: Buffer | undefined, now: number): StoreDecision {
    const { policy } = this.#controls
    const decision = decideStore(this.#request, this.#plan, response, policy, now, this.#requestedAt, { body })
    if (!decision.store) return this.#refused(decision)
    if (this.#controls.acceptGroups([...this.#groups, ...decision.groups])) return decision
    return this.#refused({ store: false, reason: 'too-many-groups', forKey: true })
  }

  #refused(refused: Extract<StoreDecision, { store: false }>): StoreDecision {
    if (this.#fill !== undefined) this.#controls.refuse(refused.reason)
    return refused
  }

  #present(response: ResponseHead, decision: StoreDecision, body: Buffer | undefined, now: number): Outgoing {
    const facts = { stored: this.stores, verdict: this.#before?.verdict }
    const presented = present(this.#request, this.#plan, response, body, decision, this.#controls.policy, now, facts)
    return { ...presented, body: presented.body === undefined ? (body ?? null) : presented.body }
  }

  /** What may not be stored for anybody lets all requests of the key run side by side; otherwise the next one may try. */
  #settle(decision: StoreDecision, body: Buffer | undefined, ambient: ReadonlySet<string>): Promise<void> | undefined {
    if (this.#fill === undefined || this.#settled) return undefined
    if (decision.store && body !== undefined) {
      this.#settled = true
      const groups = [...this.#groups, ...decision.groups.filter((name) => name !== '')]
      return this.#controls.store(this.#fill, { decision: without(decision, ambient), body, groups })
    }
    if (decision.store || !decision.forKey) this.abandon()
    else {
      this.#settled = true
      this.#controls.pass(this.#fill)
    }
    return undefined
  }
}

const NONE: ReadonlySet<string> = new Set()

function without(decision: Storable, names: ReadonlySet<string>): Storable {
  if (names.size === 0) return decision
  const kept: string[] = []
  for (let index = 0; index < decision.storedHeaders.length; index += 2) {
    const name = decision.storedHeaders[index] as string
    if (!names.has(name.toLowerCase())) kept.push(name, decision.storedHeaders[index + 1] as string)
  }
  return { ...decision, storedHeaders: kept }
}
