import type { ServerResponse } from 'node:http'
import type { RouteWrite } from '../route/route-write.js'
import type { Routes, Traits } from '../route/routes.js'
import type { WriteRun } from '../route/write-run.js'
import type { Host } from './host.js'
import type { NodeRequest, PlatformRequest } from './request.js'
import { endWriteWith } from './write-responder.js'

/** A `cachePut`, a `cacheEvict`, or both. */
export interface Declaration<Req> {
  on(routes: Routes, traits: () => Traits): RouteWrite<Req>
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
  run: WriteRun
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
  const start = (run: WriteRun): void => {
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
