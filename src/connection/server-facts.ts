/** What a server says of itself in INFO. */
export interface ServerFacts {
  /**
   * Another one after each restart and after each promotion. A server with a new one may have lost what the last one
   * confirmed.
   */
  readonly life: string
  readonly version: string
  readonly isReplica: boolean
  readonly isLoading: boolean
  /** Bytes; 0: no limit. */
  readonly maxMemory: number
  readonly evictionPolicy: string
}

/** Reads INFO's `name:value` lines. */
export function factsOf(info: string): ServerFacts {
  const fields = new Map<string, string>()
  for (const line of info.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  const field = (name: string): string => fields.get(name) ?? ''
  return {
    life: `${field('run_id')}-${field('master_replid')}`,
    // Valkey gives the Redis version that it is compatible with beside its own.
    version: field('redis_version'),
    isReplica: field('role') === 'slave',
    isLoading: field('loading') === '1',
    maxMemory: Number(field('maxmemory')),
    evictionPolicy: field('maxmemory_policy'),
  }
}
