import type { ServerResponse } from 'node:http'
import type { Outgoing } from '../http/index.js'
import type { Lookup } from '../route/lookup.js'
import type { RouteCache } from '../route/route-cache.js'
import type { Run } from '../route/run.js'
import type { Host } from './host.js'
import type { Dispatch } from './refresher.js'
import type { NodeRequest, PlatformRequest } from './request.js'
import { endRunWith, type RunOptions } from './run-responder.js'

/** A request on its way to a cached route. */
export interface Visit<Req extends PlatformRequest> extends RunOptions {
  readonly host: Host
  readonly cache: RouteCache<Req>
  readonly request: NodeRequest<Req>
  readonly res: ServerResponse
  /** Answers a request of our own, for a refresh in the background. */
  readonly dispatch: Dispatch
  /** The cache answers; the handler must not run. */
  readonly hit: (outgoing: Outgoing) => void
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

function decide<Req extends PlatformRequest>(asked: Visit<Req>, lookup: Lookup): void {
  if (lookup.outcome !== 'hit') return begin(asked, lookup.run)
  asked.hit(lookup.response)
  const { host, dispatch, request } = asked
  void lookup.refresh?.then((run) => run && host.refresher.run(dispatch, request.raw, request.target, run))
}

function begin<Req extends PlatformRequest>(asked: Visit<Req>, run: Run): void {
  asked.request.prepareFor(run)
  endRunWith(asked.res, run, asked.request, asked)
  asked.proceed()
}
