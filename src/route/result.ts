import type { WriteResult } from './options.js'

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
