import type { ServerResponse } from 'node:http'
import type { WriteRun } from '../route/write-run.js'
import { DeclaredWrite, type Host } from './declared.js'
import type { NodeRequest, PlatformRequest } from './request.js'
import { endWriteWith } from './write-responder.js'

/** A request on its way to a route that writes. */
export interface Writing<Req extends PlatformRequest> {
  readonly host: Host
  readonly write: DeclaredWrite<Req>
  readonly request: NodeRequest<Req>
  readonly res: ServerResponse
  readonly proceed: () => void
  readonly failed: (error: unknown) => void
}

interface Pending {
  write: DeclaredWrite<never>
  run: WriteRun
}

const pending = new WeakMap<ServerResponse, Pending>()

/** Whether what the route declares is done with this response. */
export function isWriting(res: ServerResponse): boolean {
  return pending.has(res)
}

/**
 * Announces a write, and sends its answer when it is done. A `cachePut` and a `cacheEvict` that one request meets are
 * one write, so that it can store its own entry in a group that it invalidates.
 */
export function write<Req extends PlatformRequest>(asked: Writing<Req>): void {
  const before = pending.get(asked.res)
  const joint = before === undefined ? undefined : join(before.write as unknown as DeclaredWrite<Req>, asked.write)
  if (joint !== undefined) before?.run.abandon()
  const declared = joint ?? asked.write
  const start = (run: WriteRun): void => {
    const now: Pending = { write: declared, run }
    if (joint !== undefined && before !== undefined) Object.assign(before, now)
    else {
      pending.set(asked.res, now)
      endWriteWith(asked.res, () => now.run, asked.failed)
    }
    asked.proceed()
  }
  try {
    const begun = declared.on(asked.host).begin(asked.request)
    if (begun instanceof Promise) begun.then(start).catch((error: unknown) => asked.failed(error))
    else start(begun)
  } catch (error) {
    asked.failed(error)
  }
}

const joined = new WeakMap<object, WeakMap<object, object>>()

/** The write that two declarations are together; undefined where each is one of its own. */
function join<Req>(a: DeclaredWrite<Req>, b: DeclaredWrite<Req>): DeclaredWrite<Req> | undefined {
  if ((a.put === undefined) === (b.put === undefined) || (a.evict === undefined) === (b.evict === undefined))
    return undefined
  let known = joined.get(a)
  if (known === undefined) joined.set(a, (known = new WeakMap()))
  let joint = known.get(b)
  if (joint === undefined) known.set(b, (joint = new DeclaredWrite(a.put ?? b.put, a.evict ?? b.evict)))
  return joint as DeclaredWrite<Req>
}
