/** A request to ask about. */
export interface ExplainRequest {
  /** Method of the request. Default GET. */
  readonly method?: string | undefined
  /** Path and query, or an absolute URL where the host matters. */
  readonly url: string
  /** Header fields of the request. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Method and template of the route, such as `GET /items/:id`. Default: the one that the router takes: in Fastify the
   * one whose path says more, otherwise the first that was declared and fits.
   */
  readonly route?: string | undefined
  /** Who asks, as the application's `principal` would return it. Default: an anonymous request. */
  readonly principal?: string | number | bigint | undefined
  /** The framework's request, for option functions that need more of it than method, URL, headers, params and query. */
  readonly native?: unknown
}

/** What the cache would do with a request, and why. */
export interface Explanation {
  /** Method and template of the route. */
  readonly route: string
  /** What the cache would do. */
  readonly outcome: 'hit' | 'stale' | 'miss' | 'bypass'
  /** `fresh`, `absent`, `stale`, `request-no-cache`, `outage` …; docs/http.md lists them all. */
  readonly reason: string
  /** The key in the store; undefined where the store is not asked. */
  readonly key: string | undefined
  /** What selects the response: request fields, cookies and the values of `vary`, by name. */
  readonly vary: readonly string[]
  /** Whether the handler would be asked about the stored response. */
  readonly validates: boolean
  /** Whether the stored response may replace a failure of the handler. */
  readonly servableOnError: boolean
  /** The entry that was found; undefined where there is none. */
  readonly entry: ExplainedEntry | undefined
  /** Why the last response of this key was not stored, as far as this process has seen; the last 1,000 keys of a route. */
  readonly lastRefusal: Refusal | undefined
}

/** A response was served and, by rule, not stored. */
export interface Refusal {
  /** A `RefusalReason`, or `refresh-failed`. */
  readonly reason: string
  /** The rule in words, with the option that changes it. */
  readonly message: string
  /** When it happened, by the clock of this process. */
  readonly at: Date
}

/** The entry that a lookup found. */
export interface ExplainedEntry {
  /** Status of the response. */
  readonly status: number
  /** When it was stored, by Redis' clock. */
  readonly storedAt: Date
  /** Milliseconds since then. */
  readonly ageMs: number
  /** Remaining lifetime in milliseconds. Negative: stale for that long. Infinity: until it is evicted. */
  readonly freshForMs: number
  /** Names of its groups. */
  readonly groups: readonly string[]
  /** Length of its body. */
  readonly bodyBytes: number
  /** Whether a soft invalidation has made it stale. */
  readonly softened: boolean
}
