import type { ServerResponse } from 'node:http'
import type { OutgoingResponse } from '../../http/index.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { HandlerRun } from '../../route/handler-run.js'
import type { RouteRegistry, HostTraits } from '../../route/registry.js'
import type { RouteLookup } from '../../route/cached-route.js'
import type { WriteRoute, WriteSession } from '../../route/write-session.js'
import type { Dispatch, Refresher } from './refresher.js'
import type { NodeRequest, PlatformRequest } from './request.js'
import { addGroupsToRun, endRunWith, endWriteWith, type RunOptions } from './responders.js'

/** One application: its routes, and what its framework is like. */
export interface Host {
  readonly routes: RouteRegistry
  readonly traits: HostTraits
  readonly refresher: Refresher
}

/** A request on its way to a cached route. */
export interface Visit<Req extends PlatformRequest> extends RunOptions {
  readonly host: Host
  readonly cache: CachedRoute<Req>
  readonly request: NodeRequest<Req>
  readonly res: ServerResponse
  /** Answers a request of our own, for a refresh in the background. */
  readonly dispatch: Dispatch
  /** The cache answers; the handler must not run. */
  readonly hit: (outgoing: OutgoingResponse) => void
  /** The handler runs. */
  readonly proceed: () => void
}

/** Looks a request up, and either answers it or lets its handler run; what that writes ends the run. */
export function visit<Req extends PlatformRequest>(asked: Visit<Req>): void {
  try {
    const own = asked.host.refresher.take(asked.request.raw)
    if (own !== undefined) return begin(asked, own)
    const lookup = asked.cache.lookup(asked.request)
    if (lookup instanceof Promise)
      lookup.then((found) => decide(asked, found)).catch((error: unknown) => asked.failed(error))
    else decide(asked, lookup)
  } catch (error) {
    asked.failed(error)
  }
}

function decide<Req extends PlatformRequest>(asked: Visit<Req>, lookup: RouteLookup): void {
  if (lookup.outcome !== 'hit') return begin(asked, lookup.run)
  asked.hit(lookup.response)
  const { host, dispatch, request } = asked
  void lookup.refresh?.then((run) => run && host.refresher.run(dispatch, request.raw, request.target, run))
}

function begin<Req extends PlatformRequest>(asked: Visit<Req>, run: HandlerRun): void {
  asked.request.prepareFor(run)
  endRunWith(asked.res, run, asked.request, asked)
  asked.proceed()
}

/** A `cachePut`, a `cacheEvict`, or both. */
export interface Declaration<Req> {
  on(routes: RouteRegistry, traits: () => HostTraits): WriteRoute<Req>
  /** What two of them on one route are together; undefined where each stands for itself. */
  join(other: Declaration<Req>): Declaration<Req> | undefined
}

/** A request on its way to a route that writes. */
export interface Writing<Req extends PlatformRequest> {
  readonly host: Host
  readonly declared: Declaration<Req>
  readonly request: NodeRequest<Req>
  readonly res: ServerResponse
  readonly proceed: () => void
  readonly failed: (error: unknown) => void
}

interface Pending {
  declared: Declaration<never>
  run: WriteSession
}

const pending = new WeakMap<ServerResponse, Pending>()

/** Whether what the route declares is done with this response. */
export function isWriting(res: ServerResponse): boolean {
  return pending.has(res)
}

/** Adds groups to the entry that a write stores, if it stores one. */
export function addGroupsToWrite(res: ServerResponse, names: readonly string[]): void {
  pending.get(res)?.run.addGroups(names)
}

/**
 * Announces a write, and sends its answer when it is done. A `cachePut` and a `cacheEvict` that one request meets are
 * one write, so that it can store its own entry in a group that it invalidates.
 */
export function write<Req extends PlatformRequest>(asked: Writing<Req>): void {
  const before = pending.get(asked.res)
  const joint = (before?.declared as Declaration<Req> | undefined)?.join(asked.declared)
  const declared = joint ?? asked.declared
  const start = (run: WriteSession): void => {
    const now: Pending = { declared, run }
    if (joint !== undefined && before !== undefined) Object.assign(before, now)
    else {
      pending.set(asked.res, now)
      endWriteWith(asked.res, () => now.run, asked.failed)
    }
    asked.proceed()
  }
  try {
    const begun = declared.on(asked.host.routes, () => asked.host.traits).begin(asked.request, joint && before?.run)
    if (begun instanceof Promise) begun.then(start).catch((error: unknown) => asked.failed(error))
    else start(begun)
  } catch (error) {
    asked.failed(error)
  }
}

/** Adds groups to the entry that a response becomes, whether it answers a read or a write-through. */
export function addGroups(res: ServerResponse, names: readonly string[]): void {
  addGroupsToRun(res, names)
  addGroupsToWrite(res, names)
}
