import type { CacheScope } from '../cache/cache-scope.js'
import type { OutgoingResponse } from '../http/index.js'
import type { Recorder } from '../telemetry/recorder.js'
import type { Variants } from './entry-key.js'
import type { RoutePolicy } from './policy.js'
import type { RefusalLog } from './refusals.js'
import type { RequestState } from './request.js'
import type { Selector } from './selector.js'

/** What the runs of one route share. */
export interface RunRoute {
  /** Method and template. */
  readonly name: string
  readonly scope: CacheScope
  readonly variants: Variants
  readonly policy: Pick<RoutePolicy<never>, 'storeWhen' | 'per' | 'shared'>
  readonly refusals: RefusalLog
  readonly recorder: Recorder
  /** The functions that have selected the entry of a request. */
  selectors(state: RequestState<unknown>): readonly Selector[]
  /** Storing that goes on when its response has left. */
  track(storing: Promise<unknown>): void
  /** The response of a run was stored. */
  onStored(key: string): void
  /** Runs the handler once more for this request, without conditions. Undefined where that cannot be. */
  rerun(state: RequestState<unknown>): Promise<OutgoingResponse | undefined>
}
