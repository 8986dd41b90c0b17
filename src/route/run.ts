import type { Fill } from '../cache/fills.js'
import { filterFields } from '../http/fields.js'
import { responseGroups } from '../http/groups.js'
import { present, presentHead } from '../http/present.js'
import type { HttpPolicy } from '../http/policy.js'
import { decideStore } from '../http/store.js'
import type { HeaderList, Outgoing, RefusalReason, RequestPlan, ResponseHead, StoreDecision } from '../http/types.js'
import type { Entry } from '../store/entry.js'
import type { MaybePromise } from '../store/port.js'
import type { CacheRequest } from './request.js'

/** Statuses that say that the origin failed, for which a stale entry may stand in (RFC 5861 section 4). */
const FAILURES = new Set([500, 502, 503, 504])

/** A decided store: what is kept, under which right to store. */
export interface Stored {
  readonly decision: Extract<StoreDecision, { store: true }>
  readonly status: number
  readonly headers: HeaderList
  readonly body: Buffer
  /** Groups that the handler added. */
  readonly groups: readonly string[]
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
  stale(entry: Entry): Outgoing
}

/** One run of a route's handler. Ends with exactly one of finish, stream, fail and abandon. */
export class Run {
  readonly #request: CacheRequest<unknown>
  readonly #plan: RequestPlan
  readonly #fill: Fill | undefined
  readonly #fallback: Entry | undefined
  readonly #controls: RunControls
  #groups: string[] = []
  /** The lease is somebody else's to end from here on. */
  #settled = false

  constructor(request: CacheRequest<unknown>, plan: RequestPlan, fill: Fill | undefined, fallback: Entry | undefined, controls: RunControls) {
    this.#request = request
    this.#plan = plan
    this.#fill = fill
    this.#fallback = fallback
    this.#controls = controls
  }

  /** Whether what the handler answers may be stored. */
  get stores(): boolean {
    return this.#fill !== undefined
  }

  /** Most bytes of a body that are of use; beyond that the response is not stored. */
  get maxBodyBytes(): number {
    return this.#controls.policy.maxBodyBytes
  }

  /** Request fields that select the response: what a refresh of it has to send. */
  get keyedFields(): readonly string[] {
    return this.#controls.keyedFields
  }

  /** The handler names groups that its response belongs to. */
  addGroups(names: readonly string[]): void {
    this.#groups.push(...names)
  }

  /**
   * The whole response is at hand. Gives what to send. `ambient` are fields (lower case) that were set before the
   * handler ran, such as a request id: they are this answer's, not the representation's, and are not stored.
   */
  finish(response: ResponseHead, body: Buffer, ambient: ReadonlySet<string> = NONE): MaybePromise<Outgoing> {
    if (FAILURES.has(response.status) && this.#fallback !== undefined) return this.#standIn(this.#fallback)
    const now = this.#controls.now()
    const decision = this.#decide(response, body.length, now)
    const { outgoing, storedHeaders } = present(this.#request, this.#plan, response, body, decision, this.#controls.policy, now)
    const settling = this.#settle(response, decision, { status: response.status, headers: without(storedHeaders, ambient), body })
    return settling === undefined ? outgoing : settling.then(() => outgoing)
  }

  /** The head is there and the body is on its way. Gives the fields to send; the body is captured beside its way out. */
  stream(response: ResponseHead, ambient: ReadonlySet<string> = NONE): { readonly headers: HeaderList; readonly capture: Capture | undefined } {
    const now = this.#controls.now()
    const decision = this.#decide(response, 0, now)
    const headers = presentHead(response, decision, this.#controls.policy, now)
    if (!decision.store || this.#fill === undefined) {
      void this.#settle(response, decision, undefined)
      return { headers, capture: undefined }
    }
    const capture: Capture = new Capture(this.maxBodyBytes, {
      complete: (body) =>
        void this.#settle(response, decision, { status: response.status, headers: without(decision.headers, ambient), body }),
      abort: () => this.abandon(),
      tooLong: () => void this.#settle(response, this.#refused('body-too-large'), undefined),
    })
    return { headers, capture }
  }

  /** The handler threw. Gives a stale entry where one may stand in (`staleIfError`). */
  fail(): Outgoing | undefined {
    if (this.#fallback !== undefined) return this.#standIn(this.#fallback)
    this.abandon()
    return undefined
  }

  /** Nothing will be stored: the handler failed or its client went away. The next request may try. */
  abandon(): void {
    if (this.#settled) return
    this.#settled = true
    this.#fill?.release().catch(() => {})
  }

  #standIn(entry: Entry): Outgoing {
    this.abandon()
    return this.#controls.stale(entry)
  }

  #decide(response: ResponseHead, bodyBytes: number, now: number): StoreDecision {
    const decision = decideStore(this.#request, response, this.#controls.policy, now)
    if (decision.store && bodyBytes > this.maxBodyBytes) return this.#refused('body-too-large')
    if (decision.store && !this.#controls.acceptGroups(this.#allGroups(response))) return this.#refused('groups')
    if (!decision.store) return this.#refused(decision.reason)
    return this.#fill === undefined ? { store: false, reason: 'method' } : decision
  }

  /** Those that the handler named through its reply, and those of its Cache-Groups field. */
  #allGroups(response: ResponseHead): readonly string[] {
    const named = responseGroups(response.headers)
    return named === undefined ? this.#groups : [...this.#groups, ...named]
  }

  #refused(reason: RefusalReason): StoreDecision {
    if (this.#fill !== undefined) this.#controls.refuse(reason)
    return { store: false, reason }
  }

  /** A failure lets the next one try; anything else that may not be stored lets all of them run side by side. */
  #settle(response: ResponseHead, decision: StoreDecision, whole: Whole | undefined): Promise<void> | undefined {
    if (this.#fill === undefined || this.#settled) return undefined
    if (decision.store && whole !== undefined) {
      this.#settled = true
      return this.#controls.store(this.#fill, { decision, ...whole, groups: this.#allGroups(response) })
    }
    if (response.status >= 500) this.abandon()
    else {
      this.#settled = true
      this.#controls.pass(this.#fill)
    }
    return undefined
  }
}

interface Whole {
  readonly status: number
  readonly headers: HeaderList
  readonly body: Buffer
}

const NONE: ReadonlySet<string> = new Set()

function without(headers: HeaderList, names: ReadonlySet<string>): HeaderList {
  return names.size === 0 ? headers : filterFields(headers, (name) => !names.has(name))
}

interface CaptureEnd {
  readonly complete: (body: Buffer) => void
  readonly abort: () => void
  readonly tooLong: () => void
}

/** Keeps a copy of a body while it streams out. Gives up over the limit; the stream does not notice. */
export class Capture {
  readonly #limit: number
  readonly #end: CaptureEnd
  #chunks: Buffer[] = []
  #bytes = 0
  #open = true

  constructor(limit: number, end: CaptureEnd) {
    this.#limit = limit
    this.#end = end
  }

  write(chunk: Uint8Array | string): void {
    if (!this.#open) return
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    this.#bytes += bytes.length
    if (this.#bytes > this.#limit) return this.#giveUp(this.#end.tooLong)
    this.#chunks.push(bytes)
  }

  /** The body ended where it should. */
  complete(): void {
    if (!this.#open) return
    this.#open = false
    this.#end.complete(this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks))
    this.#chunks = []
  }

  /** It ended early: a part is never stored. */
  abort(): void {
    if (this.#open) this.#giveUp(this.#end.abort)
  }

  #giveUp(tell: () => void): void {
    this.#open = false
    this.#chunks = []
    tell()
  }
}
