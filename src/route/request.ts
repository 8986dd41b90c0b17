import type { EntryRef } from '../cache/lookup.js'
import type { FillLease } from '../cache/fill-lease.js'
import type { Turn } from '../cache/turns.js'
import type { PendingWrite } from '../cache/write.js'
import {
  type BypassReason as HttpBypassReason,
  type Conditions,
  cookiesOnly,
  CREDENTIALS,
  Flag,
  forwardedConditions,
  type HttpPolicy,
  isFailure,
  type Lifetimes,
  type RequestHead,
  type RequestPlan,
  type SelectedField,
  type ReuseDecision,
  type ReuseReason,
  type Storable,
} from '../http/index.js'
import type { CommandBudget } from '../redis/deadline.js'
import type { Entry } from '../store/entry.js'
import { checkedNames, type Location } from './entry-key.js'
import type { AskedRequest, Unowned } from './principal.js'
import type { Selector } from './selector.js'

/** A request field by its lower-case name. */
type KeyedField = readonly [name: string, value: string]

/** A run of the handler in the background, as adapters see it: the fields that its request has to carry next to `Host`. */
export interface BackgroundRun {
  readonly keyedFields: readonly KeyedField[]
}

/** A request as an adapter presents it. */
export interface RequestContext<Req> extends RequestHead, AskedRequest<Req> {
  /** Path and query as the client sent them. */
  readonly target: string
  /** Scheme and authority as the client sees them, such as `https://example.org`. */
  readonly origin: string
  /** Method and template of its route in telemetry, where one declaration serves several. */
  readonly route?: string | undefined
  /** The framework's own request, for the functions of the options. */
  readonly native: Req
  /** What else the router has decided by, such as a version, with names that no field has: each has its own entry. */
  readonly routed?: readonly SelectedField[] | undefined
  /** Request fields behind that, `*` where they are not known: a request for a background run carries them. */
  readonly routedBy?: readonly string[] | undefined
  /** It names two hosts, as `:authority` and as `Host`: handlers may read either. */
  readonly namesTwoHosts?: boolean | undefined
  /**
   * `If-None-Match`, where the request has no other field by which requests are judged; '' where it has none at all.
   * Undefined: others may be there, such as directives, a range or credentials.
   */
  readonly onlyCondition?: string | undefined
  /** The background run that this request was made for, where `dispatch` of another request made it. */
  readonly background?: BackgroundRun | undefined
  /**
   * Sends the application a request for a background run: a GET of the same target, scheme and authority that has `Host`
   * and the run's `keyedFields`, and no other field. Resolves when it is answered. Left out where a framework cannot.
   */
  dispatch?(run: BackgroundRun): Promise<unknown>
}

/** Why a request does not use the cache. */
export type BypassReason =
  | HttpBypassReason
  /**
   * The request target is no path, but an absolute URI or `*`, which frameworks and handlers take in different ways, or it
   * names another host than `Host`, where the host is part of the key.
   */
  | 'request-target'
  /** `principal`: the route has neither `per` nor `shared`. `no-principal`: its `per` returned none. */
  | Unowned
  /** A function of the route's options returned what cannot be used. */
  | 'invalid-option'
  /** A GET with content, which its handler may read: it is not part of the key. */
  | 'request-body'
  /** The route is switched off. */
  | 'disabled'
  /** A request for a background run of another route. */
  | 'background'

/** Why the handler runs. */
export type MissReason =
  | ReuseReason
  | 'absent'
  /** The store could not answer in time. */
  | 'outage'
  /** What the store has under the key is not a response. */
  | 'unusable'
  /** The response of this key could not be stored a moment ago. */
  | 'hit-for-pass'
  /** Another request's run took longer than this one waits, or left nothing that it may use. */
  | 'wait'

/** Why the handler does not run. */
export type HitReason =
  | ReuseReason
  /** The answer of another request's run that was under way. */
  | 'collapsed'
  /** There is no answer, and the client forbids the run that would make one: 504 (RFC 9111 section 5.2.1.7). */
  | 'only-if-cached'

/** An entry that could not answer the request as it is, and why. */
export interface Previous {
  readonly entry: Entry
  /** What clients are sent of it. */
  readonly shown: Entry
  readonly decision: ReuseDecision
}

/** What is known about one request on its way through a cached route. One object for its whole life. */
export class RequestState<Req> {
  readonly request: RequestContext<Req>
  /** Of the entry that the request may have: a shared or a personal one. */
  readonly http: HttpPolicy
  readonly plan: RequestPlan
  /** What all commands before the answer may cost together. */
  readonly budget: CommandBudget | undefined
  /** Undefined where the store is left out. */
  location: Location | undefined = undefined
  /** Where its entry is, as far as is known which fields select it. */
  ref: EntryRef | undefined = undefined
  /** Reads of the store so far; a record of variants sends a request on to another key. */
  lookups = 0
  /** It has waited for another request's run, and never waits again. */
  waited = false
  previous: Previous | undefined = undefined
  lease: FillLease | undefined = undefined
  /** Of a run without a lease, where the route bounds them. */
  turn: Turn | undefined = undefined
  /** Of a request whose response becomes the entry of its URI's GET. */
  write: PendingWrite | undefined = undefined
  /** Entries exist for other variants of the path. */
  varyMiss = false
  /** Other variants that the handler is asked about (RFC 9111 section 4.1). */
  others: readonly Entry[] = NO_ENTRIES
  /** For Cache-Status: why the store was not asked. */
  detail: string | undefined = undefined

  constructor(request: RequestContext<Req>, http: HttpPolicy, plan: RequestPlan, budget: CommandBudget | undefined) {
    this.request = request
    this.http = http
    this.plan = plan
    this.budget = budget
  }

  /** The same request for another run of the handler. */
  again(budget: CommandBudget | undefined, previous: Previous | undefined): RequestState<Req> {
    const state = new RequestState(this.request, this.http, this.plan, budget)
    state.location = this.location
    state.ref = this.ref
    state.previous = previous
    return state
  }

  /** The client asked for a new answer: its run leaves no hit-for-pass note, and replaces a usable entry by no worse one. */
  get forced(): boolean {
    const { noCache, maxAge } = this.plan.directives
    return noCache || maxAge === 0 || this.previous?.decision.reason.startsWith('request-') === true
  }
}

const NO_ENTRIES: readonly Entry[] = []

/** Whether the response to a client that asked for a new one is of less use than the fresh entry that there is. */
export function isWorse({ forced, previous }: RequestState<unknown>, response: Storable, now: number): boolean {
  if (!forced || previous === undefined || now >= previous.shown.freshUntil) return false
  const isPart = (flags: number): boolean => (flags & Flag.partial) !== 0
  return isFailure(response.entry.status) || (isPart(response.entry.flags) && !isPart(previous.entry.flags))
}

/**
 * Whether a hit refreshes a fresh entry ahead of its end: never before the last part of the lifetime, then ever more
 * likely, so that a busy key is refreshed before it expires and processes do not do so in step.
 */
export function isDueEarly({ storedAt, freshUntil }: Lifetimes, now: number, part: number): boolean {
  if (part === 0 || freshUntil === Infinity) return false
  const windowMs = (freshUntil - storedAt) * part
  const leftMs = freshUntil - now
  return leftMs < windowMs && Math.random() > leftMs / windowMs
}

/** The instant from which on a hit may refresh the entry; without early refreshes its end. */
export function earlyRefreshFrom({ storedAt, freshUntil }: Lifetimes, part: number): number {
  return part === 0 || freshUntil === Infinity ? freshUntil : freshUntil - (freshUntil - storedAt) * part
}

const NONE: readonly string[] = []

const NO_READS: ReadonlyMap<string, string | undefined> = new Map()

/** What a handler reports while it runs. */
export abstract class HandlerReport {
  /** Request fields whose reading by the handler is to be reported to `noteRead`. Empty where it makes no difference. */
  abstract readonly watched: readonly string[]
  /** What has selected the entry: their reads are not reported. */
  abstract readonly selectors: readonly Selector[]
  protected groups: readonly string[] = NONE
  /** Shared by all while there are none, which is nearly always. */
  protected unkeyedReads: ReadonlyMap<string, string | undefined> = NO_READS

  /**
   * The handler has read what is not part of the key: its response is for this client. Counts until the body is
   * complete. `name` is for logs; `field` is the request field behind it, undefined where that may be any.
   */
  noteRead(name: string, field: string | undefined): void {
    this.unkeyedReads = new Map(this.unkeyedReads).set(name, field)
  }

  /** The handler names groups that the entry of its response belongs to. Throws OptionsError for what is no name. */
  addGroups(names: readonly string[]): void {
    this.groups = [...this.groups, ...checkedNames(names)]
  }
}

/** Request fields by lower-case name, as a handler has to see them; undefined: it must not see the field at all. */
export interface RequestFields extends ReadonlyMap<string, string | undefined> {
  /** They ask the handler about the stored response. */
  readonly validates: boolean
}

function fieldsOf(conditions: Conditions | undefined, validates: boolean): RequestFields {
  const fields = new Map<string, string | undefined>()
  if (conditions !== undefined) {
    fields.set('if-none-match', conditions.ifNoneMatch)
    fields.set('if-modified-since', conditions.ifModifiedSince)
  }
  return Object.assign(fields, { validates })
}

const AS_IS = fieldsOf(undefined, false)

const HIDDEN = fieldsOf({ ifNoneMatch: undefined, ifModifiedSince: undefined }, false)

/**
 * What the handler sees of the request's conditions. A handler that answered the client's own condition with 304 would
 * leave nothing to store, so a run that stores hides it, and asks about the stored response instead where there is one
 * with validators of the handler's (RFC 9111 section 4.3.1).
 */
export function requestFields(state: RequestState<unknown>, policy: HttpPolicy): RequestFields {
  const { plan, previous, others, lease } = state
  const conditional = previous?.decision.conditional === true && (lease !== undefined || !plan.head)
  if (lease === undefined && !conditional) return AS_IS
  const conditions = forwardedConditions(plan, policy, previous?.entry, previous?.decision, others)
  if (conditions === 'as-is') return AS_IS
  const asks = conditions.ifNoneMatch !== undefined || conditions.ifModifiedSince !== undefined
  return asks ? fieldsOf(conditions, true) : HIDDEN
}

/**
 * What a request for a background run carries: the fields that select the entry, and of the cookies those that do. `names`
 * are the whole fields. A value of `vary` may be made of credentials, which it never carries.
 */
export function keyedFields({ request, http }: RequestState<unknown>, names: readonly string[]): readonly KeyedField[] {
  const behind = [...(request.routedBy ?? NONE), ...http.varyValues.flatMap(({ from }) => from)]
  const all = new Set([...names, ...behind.filter((name) => name !== '*' && !CREDENTIALS.includes(name))])
  const fields = [...all].map((name) => [name, request.header(name)] as const)
  if (!all.has('cookie')) {
    const cookies = http.varyValues.flatMap(({ of }) => (typeof of === 'string' ? [of] : []))
    fields.push(['cookie', cookiesOnly(request.header('cookie'), cookies)])
  }
  return fields.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]))
}
