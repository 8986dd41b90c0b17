/** What the near cache of one application does. */
export interface NearStats {
  /** Whether Redis currently reports every change; while it does not, the near cache is empty and bypassed. */
  readonly trusted: boolean
  /** How often that ended since the start, such as by a lost connection or a failover. */
  readonly losses: number
  /** Lookups that it answered; they count as hits of their routes and namespaces as well. */
  readonly hits: number
  /** Entries that are kept. */
  readonly entries: number
  /** Bytes that entries and stamps of groups take. */
  readonly bytes: number
  /** Entries that were read and not kept, because those they would replace are requested more often. */
  readonly refused: number
}

/** The figures as they are now. */
export function nearStats({ trusted, losses, hits, entries, bytes, refused }: NearStats): NearStats {
  return { trusted, losses, hits, entries, bytes, refused }
}
