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

  json(): unknown {
    this.#json ??= { value: parseJson(this.#body) }
    return this.#json.value
  }
}

function parseJson(body: Buffer | undefined): unknown {
  try {
    return body && JSON.parse(body.toString())
  } catch {
    return undefined
  }
}
