import type { BackgroundRun } from '../route/request.js'

/** Background runs, by the platform's request that was made for them. */
export const backgroundRuns = new WeakMap<object, BackgroundRun>()

/** Whether the platform's request is a refresh of ours, which no client can send. */
export function isRefresh(message: object): boolean {
  return backgroundRuns.has(message)
}
