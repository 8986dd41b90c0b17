import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import { type HeaderList, isSafe, type OutgoingResponse, type ResponseHead } from '../http/index.js'
import type { CachedRoute } from '../route/cached-route.js'
import type { Capture } from '../route/capture.js'
import type { HandlerRun } from '../route/handler-run.js'
import type { HostTraits, RouteRegistry } from '../route/registry.js'
import type { BackgroundRun, RequestContext } from '../route/request.js'
import type { WriteRoute, WriteSession } from '../route/write-session.js'
import type { DeclaredWrite } from './declarations.js'
import { declaredLength, type FieldSnapshot, NO_FIELDS } from './fields.js'

/** An application: its routes, and what its framework is like. */
export interface Host {
  readonly routes: RouteRegistry
  readonly traits: HostTraits
}

/** What a handler's run, or a write, asks of the request: fields to show, and reads to report. */
export type Presented = Pick<HandlerRun, 'watched' | 'noteRead'> & Partial<Pick<HandlerRun, 'requestFields'>>

/** A request as an adapter presents it to the cache, and as its handler is to see it. */
export interface AdaptedRequest<Req> extends RequestContext<Req> {
  /** Shows the handler the fields that the run asks for, and reports what it reads. */
  present(run: Presented): void
  /** Whether reads are reported: not once the handler has answered, unless its body still streams. */
  watching: boolean
  /** Undoes `present`. */
  restore(): void
}

type ShownRequest = Pick<AdaptedRequest<never>, 'restore' | 'watching'>

/** The response as it is sent; `body` may be the one that was given. */
export type Sent = Pick<OutgoingResponse, 'status' | 'headers' | 'body'>

/** What becomes of a response whose body comes in pieces. */
export interface Streamed {
  /** Send this and end the stream: the handler has failed, and a stored response stands in. */
  readonly instead?: OutgoingResponse | undefined
  readonly headers: HeaderList
  /** Takes a copy of the body on its way out. */
  readonly copy?: BodyCopy | undefined
}

/** Decides about a response that its handler has written. */
export interface Ending {
  /** The fields that were set before the handler: they belong to this answer, whatever is sent instead of the handler's. */
  ambient: FieldSnapshot
  /** Whether it needs the body where that comes in one piece. */
  readonly needsBody: boolean
  /** The whole response is there, and nothing of it was sent. `ambient`: names of such fields, unchanged by the handler. */
  whole(head: ResponseHead, body: Buffer | undefined, ambient: ReadonlySet<string>): MaybePromise<Sent>
  /** The head is there, and the body comes in pieces. */
  streamed(head: ResponseHead, ambient: ReadonlySet<string>): MaybePromise<Streamed>
  /** The client is gone, or the handler failed. */
  abandon(): void
}

/** A copy of a body that streams. A body that is not as long as it declared is not stored (RFC 9111 section 3.3). */
export class BodyCopy {
  readonly #capture: Capture
  #bytesLeft: number | undefined

  constructor(capture: Capture, declared: number | undefined) {
    this.#capture = capture
    this.#bytesLeft = declared
  }

  write(bytes: Uint8Array): void {
    if (this.#bytesLeft !== undefined) this.#bytesLeft -= bytes.length
    this.#capture.write(bytes)
  }

  /** The body has ended. A promise resolves when its last byte may be sent: the next request finds the body stored. */
  end(): MaybePromise<unknown> {
    if (this.#bytesLeft === undefined || this.#bytesLeft === 0) return this.#capture.complete()
    return this.#capture.abort()
  }

  /** The reader is slower than the source, so that other requests must not wait for the end. */
  stalled(): void {
    this.#capture.stalled()
  }

  abort(): void {
    this.#capture.abort()
  }
}

/** Background runs by the request that was sent for them. */
const backgroundRuns = new WeakMap<object, BackgroundRun>()

/** The run that a request of the platform was sent for. */
export function backgroundRunOf(message: object): BackgroundRun | undefined {
  return backgroundRuns.get(message)
}

export function sendForRun(message: object, run: BackgroundRun): void {
  backgroundRuns.set(message, run)
}

const exchanges = new WeakMap<object, Exchange>()

/** One request and its response. The innermost run and the write of the request belong to it. */
export class Exchange {
  readonly #response: object
  #run: RunEnding | undefined
  #write: WriteEnding | undefined
  #unsafe: UnsafeEnding | undefined

  private constructor(response: object) {
    this.#response = response
  }

  /** The exchange of a platform's response, kept from the first run or write on. */
  static of(response: object): Exchange {
    return exchanges.get(response) ?? new Exchange(response)
  }

  /** What ends with this response, innermost first. */
  get ending(): Ending | undefined {
    return this.#run ?? this.#write ?? this.#unsafe
  }

  /** Whether a route's own declaration decides about the response. */
  get isDeclared(): boolean {
    return this.#run !== undefined || this.#write !== undefined
  }

  /** Adds groups to the entry that the response becomes, if it becomes one. */
  addGroups(names: readonly string[]): void {
    this.#run?.run.addGroups(names)
    this.#write?.session.addGroups(names)
  }

  /**
   * A cached answer, a run of the handler that its response ends, or undefined where the request just passes. Where a
   * router and a route both cache, the inner one decides, unless the request refreshes the entry of the outer one.
   */
  read<Req>(
    cachedRoute: CachedRoute<Req>,
    request: AdaptedRequest<Req>,
  ): MaybePromise<OutgoingResponse | RunEnding | undefined> {
    if (request.background !== undefined && this.#run?.run.stores === true) return undefined
    this.#run?.giveWay()
    this.#run = undefined
    return chain(cachedRoute.lookup(request), (lookup) =>
      lookup.outcome === 'hit' ? lookup.response : this.#begin(lookup.run, request),
    )
  }

  /**
   * Begins a `cachePut`, a `cacheEvict`, or both. Two of one request that complete each other are one write, so that it
   * can store its own entry in a group that it evicts; then the ending of the first stays, and undefined is returned.
   */
  declaredWrite<Req>(
    { routes, traits }: Host,
    declared: DeclaredWrite<Req>,
    request: AdaptedRequest<Req>,
  ): MaybePromise<WriteEnding | undefined> {
    const outer = this.#write
    const joint = outer?.declared && declared.join(outer.declared as DeclaredWrite<Req>)
    if (outer === undefined || joint === undefined) {
      return chain(
        this.write(
          declared.on(routes, () => traits),
          request,
          declared.readsBody,
        ),
        (write) => {
          write.declared = declared
          return write
        },
      )
    }
    const begun = joint.on(routes, () => traits).begin(request, outer.session)
    return chain(begun, (session): undefined => {
      request.present(session)
      outer.session = session
      outer.declared = joint
      outer.needsBody ||= joint.readsBody
    })
  }

  write<Req>(route: WriteRoute<Req>, request: AdaptedRequest<Req>, needsBody = true): MaybePromise<WriteEnding> {
    return chain(route.begin(request), (session) => {
      exchanges.set(this.#response, this)
      request.present(session)
      return (this.#write = new WriteEnding(session, request, needsBody))
    })
  }

  /** Of a request by an unsafe method: success invalidates its URI where routes cache it, if no route declares more. */
  unsafe({ routes }: Pick<Host, 'routes'>, request: RequestContext<unknown>): Ending | undefined {
    if (isSafe(request.method) || this.#unsafe !== undefined || routes.paths.size === 0) return undefined
    exchanges.set(this.#response, this)
    return (this.#unsafe = new UnsafeEnding(this, routes.unsafe, request))
  }

  #begin<Req>(run: HandlerRun, request: AdaptedRequest<Req>): RunEnding {
    exchanges.set(this.#response, this)
    request.present(run)
    return (this.#run = new RunEnding(run, request))
  }
}

/** Ends a run of a cached route's handler. */
export class RunEnding implements Ending {
  readonly run: HandlerRun
  readonly needsBody = true
  ambient = NO_FIELDS
  readonly #request: ShownRequest
  #gaveWay = false

  constructor(run: HandlerRun, request: ShownRequest) {
    this.run = run
    this.#request = request
  }

  /** An inner cache has begun a run of its own. */
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
    if (this.#gaveWay) return { headers: head.headers }
    // A handler may read credentials after its first byte.
    this.#request.watching = true
    return chain(this.run.stream(head, ambient), ({ instead, headers, capture }) => ({
      instead,
      headers,
      copy: capture && new BodyCopy(capture, declaredLength(head.headers)),
    }))
  }

  /** The handler threw. Returns what is sent instead, if there is something. */
  fail(): OutgoingResponse | undefined {
    this.#request.restore()
    return this.#gaveWay ? undefined : this.run.fail()
  }

  abandon(): void {
    this.#request.restore()
    this.run.abandon()
  }
}

/** Ends a write: its answer is sent when what it invalidates is invalid. */
export class WriteEnding implements Ending {
  needsBody: boolean
  readonly ambient = NO_FIELDS
  session: WriteSession
  declared: DeclaredWrite<never> | undefined
  readonly #request: ShownRequest

  constructor(session: WriteSession, request: ShownRequest, needsBody: boolean) {
    this.session = session
    this.needsBody = needsBody
    this.#request = request
  }

  whole(head: ResponseHead, body: Buffer | undefined): MaybePromise<Sent> {
    this.#request.restore()
    return chain(finish(this.session, head, body), (headers) => ({ status: head.status, headers, body: body ?? null }))
  }

  /** The invalidation does not wait for the end of the body. */
  streamed(head: ResponseHead): MaybePromise<Streamed> {
    this.#request.restore()
    return chain(finish(this.session, head, undefined), (headers) => ({ headers }))
  }

  abandon(): void {
    this.#request.restore()
    this.session.abandon()
  }
}

class UnsafeEnding implements Ending {
  readonly needsBody = false
  readonly ambient = NO_FIELDS
  readonly #exchange: Exchange
  readonly #route: WriteRoute<unknown>
  readonly #request: RequestContext<unknown>

  constructor(exchange: Exchange, route: WriteRoute<unknown>, request: RequestContext<unknown>) {
    this.#exchange = exchange
    this.#route = route
    this.#request = request
  }

  whole(head: ResponseHead, body: Buffer | undefined): MaybePromise<Sent> {
    return chain(this.#finish(head), (headers) => ({ status: head.status, headers, body: body ?? null }))
  }

  streamed(head: ResponseHead): MaybePromise<Streamed> {
    return chain(this.#finish(head), (headers) => ({ headers }))
  }

  abandon(): void {}

  #finish(head: ResponseHead): MaybePromise<HeaderList> {
    if (this.#exchange.isDeclared) return head.headers
    return chain(this.#route.begin(this.#request), (session) => finish(session, head, undefined))
  }
}

const NO_BODY = Buffer.alloc(0)

function finish(
  session: WriteSession,
  { status, headers }: ResponseHead,
  body: Buffer | undefined,
): MaybePromise<HeaderList> {
  return chain(session.finish({ status, headers: () => headers, body: () => body }), (changed) => changed ?? headers)
}

/** Runs a step that may take a while, and hands its outcome or failure on. */
export function settle<T>(
  step: () => MaybePromise<T>,
  act: (value: T) => void,
  failed: (error: unknown) => void,
): void {
  try {
    const value = step()
    if (isPromise(value)) value.then(act).catch(failed)
    else act(value)
  } catch (error) {
    failed(error)
  }
}
