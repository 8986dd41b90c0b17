/** What befell the commands of the cache since the connection was made. */
export interface ConnectionCounters {
  /** Not tried, because it was known that they would not be answered. */
  readonly refused: number
  /** Sent, and not answered within their deadline. */
  readonly missed: number
  /** Sent, and lost with their connection, or answered by a server that does not serve for now. */
  readonly lost: number
  /** How often commands to a server were given up until it answers again. */
  readonly opened: number
  /** Connections to a server that were made, the first ones included. */
  readonly connected: number
}

export type Counting = { -readonly [Name in keyof ConnectionCounters]: ConnectionCounters[Name] }

export function noCounts(): Counting {
  return { refused: 0, missed: 0, lost: 0, opened: 0, connected: 0 }
}
