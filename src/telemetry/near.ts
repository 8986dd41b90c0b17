/** What the near cache of one application does. */
export interface NearStats {
  /** Whether Redis tells of every change at the moment; while it does not, the near cache is empty and left out. */
  readonly trusted: boolean
  /** How often that ended since the start: a lost connection, a failover. */
  readonly losses: number
  /** Lookups that it answered; they count as hits of their routes and namespaces as well. */
  readonly hits: number
  /** Entries that are kept. */
  readonly entries: number
  /** Bytes that entries and stamps of groups take. */
  readonly bytes: number
  /** Entries that were read and not kept, because those that would have to go are asked for more often. */
  readonly refused: number
}

/** The figures as they are now. */
export function nearStats({ trusted, losses, hits, entries, bytes, refused }: NearStats): NearStats {
  return { trusted, losses, hits, entries, bytes, refused }
}
