import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import { declaredLength, isSafe, type OutgoingResponse, type ResponseHead } from '../http/index.js'
import type { CachedRoute } from '../route/cached-route.js'
import { EndOfWrite, type Streamed } from '../route/capture.js'
import type { HandlerRun } from '../route/handler-run.js'
import type { RequestContext } from '../route/request.js'
import type { RouteLookup } from '../route/route-lookup.js'
import type { WriteEffects } from '../route/write-effects.js'
import type { WriteSession } from '../route/write-session.js'
import type { DeclaredWrite, Host } from './declarations.js'
import { type FieldSnapshot, type FieldTarget, NO_FIELDS, unchangedFields } from './fields.js'
import type { LateFields } from './reply.js'
import { RequestProperty } from './request-property.js'

/** What a handler run or a write needs from the request: fields to show, and reads to report. */
export type Presented = Pick<HandlerRun, 'watched' | 'noteRead' | 'selectors'> &
  Partial<Pick<HandlerRun, 'requestFields'>>

/** A request as the cache sees it, and how to present it to its handler. */
export interface AdaptedRequest<Req> extends RequestContext<Req> {
  /**
   * Shows the handler the fields of the run, and reports what it reads. Returns a promise if an option's function that
   * selects the entry is asynchronous.
   */
  present(run: Presented): MaybePromise<void>
  /** Whether reads are reported: no longer after the handler has responded, unless its body still streams. */
  watching: boolean
  /** Undoes `present`. */
  restore(): void
}

type ShownRequest = Pick<AdaptedRequest<never>, 'restore' | 'watching'>

/** The response as it is sent; `body` may be the one that was passed in. */
export type Sent = Pick<OutgoingResponse, 'status' | 'headers' | 'body'>

/** Decides about a response that its handler has written. */
export interface Ending {
  /** Fields that were set before the handler: they are sent even if another response replaces the handler's. */
  readonly ambient: FieldSnapshot
  /** Further fields that belong to this response alone, where a framework can tell. */
  late?: LateFields | undefined
  /** Whether it needs the body if that comes in one piece. */
  readonly needsBody: boolean
  /** Whether it has to know when the body of a response with this status ends. It does where it needs the body. */
  needsEnd?(status: number): boolean
  /** The response is complete and nothing of it was sent. `ambient`: names of fields that were set before the handler and not changed by it. */
  whole(head: ResponseHead, body: Buffer | undefined, ambient: ReadonlySet<string>): MaybePromise<Sent>
  /** The head is complete, and the body comes in pieces. */
  streamed(head: ResponseHead, ambient: ReadonlySet<string>): MaybePromise<Streamed>
  /** The client has left before the handler has answered; the handler goes on. */
  clientLeft(): void
  /** The handler failed, or the client left in the middle of the response. */
  abandon(): void
}

/** Names of the fields of a response that are not its handler's. */
export function ambientFields(target: Pick<FieldTarget, 'getHeader'>, { ambient, late }: Ending): ReadonlySet<string> {
  const unchanged = unchangedFields(target, ambient)
  return late === undefined ? unchanged : new Set([...unchanged, ...late(target)])
}

const exchanges = new RequestProperty<Exchange>()

/** One request and its response, with its innermost run and its write. */
export class Exchange {
  readonly #response: object
  #run: RunEnding | undefined
  #write: WriteEnding | undefined
  /** All that have begun, of which `#write` is the innermost. */
  readonly #writes: WriteEnding[] = []
  #unsafe: WriteEnding | undefined
  #refused: number | undefined

  private constructor(response: object) {
    this.#response = response
  }

  /** Returns the exchange of a platform's response, which is kept from the first run or write on. */
  static of(response: object): Exchange {
    return exchanges.get(response) ?? new Exchange(response)
  }

  /**
   * A session does not let the response of the handler leave, which has succeeded all the same: what it changed is
   * changed. `status`: that of the handler.
   */
  static refuse(response: object, status: number): void {
    const exchange = exchanges.get(response)
    if (exchange !== undefined) exchange.#refused = status
  }

  /** The status by which a write has succeeded or failed. */
  statusOf(sent: number): number {
    return this.#refused ?? sent
  }

  /** Whether a route's own declaration decides about the response. */
  get isDeclared(): boolean {
    return this.#run !== undefined || this.#write !== undefined
  }

  /** Adds groups to the entry of this response, if it is stored. */
  addGroups(names: readonly string[]): void {
    this.#run?.run.addGroups(names)
    this.#write?.session?.addGroups(names)
  }

  /**
   * Returns a cached response, a run that the handler's response ends, or undefined if the request does not use the cache.
   * If both a router and a route cache, the inner one decides, unless the request refreshes the entry of the outer one.
   */
  read<Req>(
    cachedRoute: CachedRoute<Req>,
    request: AdaptedRequest<Req>,
  ): MaybePromise<OutgoingResponse | RunEnding | undefined> {
    if (request.background !== undefined && this.#run?.run.stores === true) return undefined
    this.#run?.giveWay()
    this.#run = undefined
    const found = cachedRoute.lookup(request)
    return isPromise(found) ? this.#later(found, request) : this.#found(found, request)
  }

  // Apart from `read`, whose hits need no closure: V8 lets those of a busy place outlive their requests.
  #later<Req>(found: Promise<RouteLookup>, request: AdaptedRequest<Req>): Promise<OutgoingResponse | RunEnding> {
    return found.then((lookup) => this.#found(lookup, request))
  }

  #found<Req>(lookup: RouteLookup, request: AdaptedRequest<Req>): MaybePromise<OutgoingResponse | RunEnding> {
    return lookup.outcome === 'hit' ? lookup.response : this.#beginRun(lookup.run, request)
  }

  #beginRun<Req>(handlerRun: HandlerRun, request: AdaptedRequest<Req>): MaybePromise<RunEnding> {
    exchanges.set(this.#response, this)
    const run = new RunEnding(handlerRun, request)
    this.#run = run
    return chain(request.present(handlerRun), () => run)
  }

  /**
   * Begins a `cachePut`, a `cacheEvict`, or both. If two declarations can be combined, they become one write, which can
   * store an entry in a group that it evicts; then the first ending remains and undefined is returned.
   */
  write<Req>(
    host: Host,
    declared: DeclaredWrite<Req>,
    request: AdaptedRequest<Req>,
  ): MaybePromise<WriteEnding | undefined> {
    const outer = this.#write
    const joint = outer?.declared && declared.join(outer.declared)
    const all = joint ?? declared
    return chain(all.on(host, request.route).begin(request, joint && outer?.session), (session) => {
      exchanges.set(this.#response, this)
      const isNew = outer === undefined || joint === undefined
      const write = isNew ? new WriteEnding(request) : outer
      if (!isNew) write.showOnly(request)
      write.session = session
      write.declared = all
      write.needsBody ||= all.readsBody
      this.#write = write
      if (isNew) this.#writes.push(write)
      return chain(request.present(session), () => (isNew ? write : undefined))
    })
  }

  /** For unsafe methods: success invalidates the URI if a route caches it and no declaration does more. */
  unsafe({ routes }: Host, request: AdaptedRequest<unknown>): Ending | undefined {
    if (isSafe(request.method) || this.#unsafe !== undefined || !routes.areChanged) return undefined
    exchanges.set(this.#response, this)
    return (this.#unsafe = new UnsafeEnding(request, this, () => routes.unsafe.begin(request)))
  }

  /** What declared writes have changed so far; undefined where nothing is declared. */
  get effects(): readonly WriteEffects[] | undefined {
    if (!this.isDeclared) return undefined
    const sessions = [this.#run?.run.session, ...this.#writes.map(({ session }) => session)]
    return sessions.flatMap((session) => session?.effects ?? [])
  }
}

/** Ends a run of a cached route's handler. */
export class RunEnding implements Ending {
  readonly run: HandlerRun
  readonly needsBody = true
  ambient = NO_FIELDS
  late: LateFields | undefined
  readonly #request: ShownRequest
  #gaveWay = false

  constructor(run: HandlerRun, request: ShownRequest) {
    this.run = run
    this.#request = request
  }

  /** An inner cache has started its own run. */
  giveWay(): void {
    this.#gaveWay = true
    this.abandon()
  }

  get gaveWay(): boolean {
    return this.#gaveWay
  }

  whole(head: ResponseHead, body: Buffer = NO_BODY, ambient: ReadonlySet<string>): MaybePromise<Sent> {
    if (this.#gaveWay) return { ...head, body }
    this.#request.restore()
    return this.run.finish(head, body, ambient)
  }

  streamed(head: ResponseHead, ambient: ReadonlySet<string>): MaybePromise<Streamed> {
    if (this.#gaveWay) return { headers: head.headers, capture: undefined }
    // A handler may read credentials after its first byte.
    this.#request.watching = true
    return this.run.stream(head, ambient)
  }

  /** The handler threw. Returns the response to send instead, if any. */
  fail(): OutgoingResponse | undefined {
    this.#request.restore()
    return this.#gaveWay ? undefined : this.run.fail()
  }

  clientLeft(): void {
    this.run.clientLeft()
  }

  abandon(): void {
    this.#request.restore()
    this.run.abandon()
  }
}

/** Ends a write: its response is sent after its invalidations, which are repeated where it may have gone on since. */
export class WriteEnding implements Ending {
  ambient = NO_FIELDS
  late: LateFields | undefined
  needsBody = false
  session: WriteSession | undefined
  declared: DeclaredWrite<never> | undefined
  #request: ShownRequest

  constructor(request: ShownRequest) {
    this.#request = request
  }

  /** A declaration has joined: its request is presented now, and this one's reads no longer count as the handler's. */
  showOnly(request: ShownRequest): void {
    this.#request.restore()
    this.#request = request
  }

  needsEnd(status: number): boolean {
    return status < 400
  }

  whole(head: ResponseHead, body: Buffer | undefined, ambient?: ReadonlySet<string>): MaybePromise<Sent> {
    return chain(this.#finish(head, body, ambient), (headers) => ({ ...head, headers, body: body ?? null }))
  }

  /** A write may commit with its last piece: the invalidation comes with the head, and again before the body's end. */
  streamed(head: ResponseHead): MaybePromise<Streamed> {
    return chain(this.#finish(head, undefined), (headers) => {
      const capture = this.hasChanged ? new EndOfWrite(() => this.repeat(head.status), declaredLength(head)) : undefined
      return { headers, capture }
    })
  }

  /** What the handler changes, it changes all the same. */
  clientLeft(): void {}

  abandon(): void {
    this.#request.restore()
    this.session?.abandon()
  }

  protected get hasChanged(): boolean {
    return this.session?.effects.any === true
  }

  protected repeat(_status: number): MaybePromise<unknown> {
    return this.session?.effects.repeat()
  }

  protected finish(
    head: ResponseHead,
    body: Buffer | undefined,
    ambient?: ReadonlySet<string>,
  ): MaybePromise<ResponseHead['headers']> {
    return this.session?.finish(head, body, ambient) ?? head.headers
  }

  #finish(...answer: Parameters<WriteEnding['finish']>): MaybePromise<ResponseHead['headers']> {
    this.#request.restore()
    return this.finish(...answer)
  }
}

/**
 * Ends a request by an unsafe method, around all that its route declares. What that has changed is repeated where a
 * middleware in between, such as a transaction, took its time.
 */
class UnsafeEnding extends WriteEnding {
  readonly #exchange: Exchange
  readonly #begin: () => MaybePromise<WriteSession>

  constructor(request: ShownRequest, exchange: Exchange, begin: () => MaybePromise<WriteSession>) {
    super(request)
    this.#exchange = exchange
    this.#begin = begin
  }

  override needsEnd(status: number): boolean {
    return super.needsEnd(status) && !this.#exchange.isDeclared
  }

  protected override get hasChanged(): boolean {
    return super.hasChanged || this.#exchange.effects?.some(({ any }) => any) === true
  }

  protected override repeat(status: number): MaybePromise<unknown> {
    return this.session === undefined ? this.#confirm(status) : super.repeat(status)
  }

  protected override finish(
    ...[sent, ...rest]: Parameters<WriteEnding['finish']>
  ): MaybePromise<ResponseHead['headers']> {
    const status = this.#exchange.statusOf(sent.status)
    if (this.#exchange.isDeclared) return chain(this.#confirm(status), () => sent.headers)
    return chain(this.#begin(), (session) => {
      this.session = session
      return super.finish({ ...sent, status }, ...rest)
    })
  }

  #confirm(status: number): MaybePromise<unknown> {
    const waiting = this.#exchange.effects?.map((effects) => effects.confirm(status)).filter(isPromise) ?? []
    return waiting.length === 0 ? undefined : Promise.all(waiting)
  }
}

const NO_BODY = Buffer.alloc(0)
