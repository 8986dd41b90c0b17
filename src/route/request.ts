import type { RequestHead } from '../http/index.js'

/** A request as an adapter presents it. */
export interface CacheRequest<Req> extends RequestHead {
  /** Path and query as the client sent them. */
  readonly target: string
  /** Scheme and authority as the client sees them, such as `https://example.org`. */
  readonly origin: string
  /** Method and template of its route in telemetry, where one declaration serves several. */
  readonly route?: string | undefined
  /** The framework's own request, for the functions of the options. */
  readonly native: Req
}
