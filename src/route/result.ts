import { atOnce } from '../errors.js'
import type { WriteResult } from './options.js'
import type { RoutePolicy } from './policy.js'
import type { RefusalLog } from './refusals.js'

/** What the functions of the options are given of a response. */
export class Result implements WriteResult {
  readonly status: number
  readonly #body: Buffer | undefined
  #json: { readonly value: unknown } | undefined

  constructor(status: number, body: Buffer | undefined) {
    this.status = status
    this.#body = body
  }

  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- see WriteResult
  json<T = unknown>(): T {
    this.#json ??= { value: parseJson(this.#body) }
    return this.#json.value as T
  }
}

function parseJson(body: Buffer | undefined): unknown {
  try {
    return body && JSON.parse(body.toString())
  } catch {
    return undefined
  }
}

/** Whether the route's `storeWhen` lets a response be stored. The handler has answered, so one that throws fails no request. */
export function isWanted(
  { storeWhen }: Pick<RoutePolicy<never>, 'storeWhen'>,
  result: Result,
  refusals: RefusalLog | undefined,
): boolean {
  try {
    return atOnce(storeWhen?.(result), 'storeWhen') !== false
  } catch (error) {
    refusals?.cannotTell(error)
    return false
  }
}
