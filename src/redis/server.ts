import type { Logger } from '../logger.js'
import type { ResolvedSettings } from './settings.js'

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

/** The oldest version that redwell is tested with. */
const OLDEST: readonly [number, number] = [7, 0]

/** What an operator should hear once about a server. Empty where all is well, or where the server does not tell. */
export function warningsAbout(facts: ServerFacts): readonly string[] {
  return [tooOld(facts), badPolicy(facts)].filter((warning) => warning !== undefined)
}

function tooOld({ version }: ServerFacts): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (version === '' || major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined
  return `its version is ${version}; redwell is tested with ${OLDEST.join('.')} and newer`
}

function badPolicy({ maxMemory, evictionPolicy }: ServerFacts): string | undefined {
  if (maxMemory === 0 || evictionPolicy !== 'noeviction') return undefined
  return 'its maxmemory-policy is noeviction: once its memory is full nothing more is cached. allkeys-lru or allkeys-lfu suit a cache'
}

/** Said when the first entry without an expiry is stored: the other policies evict only what has one. */
export function unboundedWarning({ maxMemory, evictionPolicy }: ServerFacts): string | undefined {
  if (evictionPolicy === '' || (maxMemory > 0 && evictionPolicy.startsWith('allkeys'))) return undefined
  const why = maxMemory === 0 ? 'has no maxmemory' : `has maxmemory-policy ${evictionPolicy}`
  return `an entry without a TTL was stored, and the server ${why}, so it never evicts it. Give the route or REDIS_DEFAULT_TTL a lifetime, or the server maxmemory and allkeys-lru; REDIS_WARN_UNBOUNDED_CACHE=false silences this`
}

/** Lives remembered. Over it the oldest is forgotten; a service does not outlive this many restarts of its servers. */
const LIVES_MAX = 256

/** What the servers said of themselves: which lives they are in, and what an operator should hear about them. */
export class ServerWatch {
  readonly #settings: ResolvedSettings
  readonly #where: string
  readonly #logger: Logger
  readonly #lives = new Set<string>()
  readonly #said = new Set<string>()
  #facts: ServerFacts | undefined
  #unbounded = false
  #generation = 0

  constructor(settings: ResolvedSettings, where: string, logger: Logger) {
    this.#settings = settings
    this.#where = where
    this.#logger = logger
  }

  get generation(): number {
    return this.#generation
  }

  get lives(): readonly string[] {
    return [...this.#lives]
  }

  greeted(facts: ServerFacts | undefined): void {
    if (facts === undefined) return
    this.#facts = facts
    for (const warning of warningsAbout(facts)) this.#warn(warning)
    if (this.#unbounded) this.#warn(unboundedWarning(facts))
    if (this.#settings.trustRestarts || this.#lives.has(facts.life)) return
    const [oldest] = this.#lives
    if (this.#lives.size >= LIVES_MAX && oldest !== undefined) this.#lives.delete(oldest)
    this.#lives.add(facts.life)
    this.#generation += 1
  }

  /** The user of the connection may not do what the cache needs: said once for each command. */
  forbidden(message: string): void {
    this.#warn(`${message}. The page on operations lists what the cache's user needs`)
  }

  unbounded(): void {
    if (this.#unbounded || !this.#settings.warnUnboundedCache) return
    this.#unbounded = true
    if (this.#facts !== undefined) this.#warn(unboundedWarning(this.#facts))
  }

  #warn(warning: string | undefined): void {
    if (warning === undefined || this.#said.has(warning)) return
    this.#said.add(warning)
    this.#logger.warn(`redwell: Redis at ${this.#where}: ${warning}`)
  }
}
