import type { Logger } from '../logger.js'
import type { ResolvedSettings } from './settings.js'

/** What a server reports of itself in INFO. */
export interface ServerFacts {
  /** Changes with each restart and each promotion, after which the server may have lost what it had confirmed before. */
  readonly life: string
  readonly version: string
  readonly isReplica: boolean
  readonly isLoading: boolean
  /** Bytes; 0: no limit. */
  readonly maxMemory: number
  readonly evictionPolicy: string
  /** Milliseconds since the epoch; NaN where the server does not report it. */
  readonly timeMs: number
}

/** All sections that a handshake reads. */
export const INFO = ['INFO']

/** The part that a health check reads each second. Servers before 7.0 refuse several sections. */
export const HEALTH_INFO = ['INFO', 'server', 'replication']

/** INFO's `name:value` lines. */
export function infoFields(info: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (const line of info.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  return fields
}

export function factsOf(info: string): ServerFacts {
  const fields = infoFields(info)
  const field = (name: string): string => fields.get(name) ?? ''
  return {
    life: `${field('run_id')}-${field('master_replid')}`,
    // Valkey reports the Redis version that it is compatible with in addition to its own.
    version: field('redis_version'),
    isReplica: field('role') === 'slave',
    isLoading: field('loading') === '1',
    maxMemory: Number(field('maxmemory')),
    evictionPolicy: field('maxmemory_policy'),
    timeMs: Number.parseInt(field('server_time_usec'), 10) / 1000,
  }
}

/** How fast two clocks may drift apart, so that an old good measurement is replaced at last: 0.5 ms a second. */
const DRIFT = 0.0005

/** The offset of a server's clock from this process' clock, from the best of the measurements so far. */
export class ServerClock {
  /** What to add to the process' clock; undefined until it was measured. */
  offsetMs: number | undefined
  #errorMs = Infinity
  #measuredAt = 0

  /**
   * The server read its clock (`serverMs`) at an unknown moment of a round trip that began at `sentAt` of the process'
   * clock, so half of the round trip is the error. `monotonicMs` is the time of the measurement.
   */
  measure(serverMs: number, sentAt: number, roundTripMs: number, monotonicMs: number): void {
    if (Number.isNaN(serverMs)) return
    const errorMs = roundTripMs / 2
    const offsetMs = serverMs - sentAt - errorMs
    const known = this.offsetMs
    const knownErrorMs = this.#errorMs + (monotonicMs - this.#measuredAt) * DRIFT
    // Farther away than both errors allow: one of the clocks was set.
    const wasSet = known !== undefined && Math.abs(offsetMs - known) > errorMs + knownErrorMs
    if (errorMs > knownErrorMs && !wasSet) return
    this.offsetMs = offsetMs
    this.#errorMs = errorMs
    this.#measuredAt = monotonicMs
  }
}

/** The oldest version that redwell is tested with. */
const OLDEST: readonly [number, number] = [7, 0]

/** What an operator should know about a server. Empty where all is well, or where the server does not report it. */
export function warningsAbout({
  version,
  maxMemory,
  evictionPolicy,
}: Pick<ServerFacts, 'version' | 'maxMemory' | 'evictionPolicy'>): readonly string[] {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isOld = version !== '' && (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
  const warnings = isOld ? [`its version is ${version}; redwell is tested with ${OLDEST.join('.')} and newer`] : []
  if (maxMemory > 0 && evictionPolicy === 'noeviction')
    warnings.push(
      'its maxmemory-policy is noeviction: once its memory is full, nothing more is cached. Use allkeys-lru or allkeys-lfu for a cache',
    )
  return warnings
}

/** For the first entry without an expiry: the policies other than `allkeys-*` evict only entries that have one. */
export function unboundedWarning({ maxMemory, evictionPolicy }: ServerFacts): string | undefined {
  if (evictionPolicy === '' || (maxMemory > 0 && evictionPolicy.startsWith('allkeys'))) return undefined
  const why = maxMemory === 0 ? 'has no maxmemory' : `has maxmemory-policy ${evictionPolicy}`
  return `an entry without a TTL was stored, but the server ${why}, so it will never evict the entry. Set a lifetime on the route or in REDIS_DEFAULT_TTL, or maxmemory and allkeys-lru on the server. REDIS_WARN_UNBOUNDED_CACHE=false disables this warning`
}

/** Lives remembered; beyond that the oldest is forgotten. A process does not outlive this many restarts of its servers. */
const LIVES_MAX = 256

/** The lives of the servers that this process has met, and the warnings about them, each logged once. */
export class ServerWatch {
  /** Changes with each life that was not met before. */
  generation = 0
  readonly #lives = new Set<string>()
  readonly #warned = new Set<string>()
  #facts: ServerFacts | undefined
  #unbounded = false

  constructor(
    private readonly settings: ResolvedSettings,
    private readonly where: string,
    private readonly logger: Logger,
  ) {}

  get lives(): readonly string[] {
    return [...this.#lives]
  }

  /** A server has completed its handshake. Undefined where it does not answer INFO. */
  onHandshake(facts: ServerFacts | undefined): void {
    if (facts === undefined) return
    this.#facts = facts
    for (const warning of warningsAbout(facts)) this.#warn(warning)
    if (this.#unbounded) this.#warn(unboundedWarning(facts))
    if (this.settings.trustRestarts || this.#lives.has(facts.life)) return
    const [oldest] = this.#lives
    if (this.#lives.size >= LIVES_MAX && oldest !== undefined) this.#lives.delete(oldest)
    this.#lives.add(facts.life)
    this.generation += 1
  }

  /** The user of the connection lacks a permission that the cache needs. */
  onForbidden(message: string): void {
    this.#warn(`${message}. See docs/operations.md for the permissions that the user needs`)
  }

  onUnbounded(): void {
    if (this.#unbounded || !this.settings.warnUnboundedCache) return
    this.#unbounded = true
    if (this.#facts !== undefined) this.#warn(unboundedWarning(this.#facts))
  }

  #warn(warning: string | undefined): void {
    if (warning === undefined || this.#warned.has(warning)) return
    this.#warned.add(warning)
    this.logger.warn(`redwell: Redis at ${this.where}: ${warning}`)
  }
}

/**
 * - `ready`: commands are answered
 * - `degraded`: connected, but the server does not answer in time, or not yet; on a cluster, some primaries are away.
 *   Commands are sent only where they will be answered
 * - `unavailable`: not connected
 * - `closed`: closed by the application
 */
export type ConnectionStatus = 'ready' | 'degraded' | 'unavailable' | 'closed'

/**
 * - `ready`: commands are sent
 * - `degraded`: connected, but the server does not answer in time, or not yet
 * - `unavailable`: not connected
 */
export type NodeState = 'ready' | 'degraded' | 'unavailable'

/** What a message needs to know about a node. */
interface NodeStatus {
  readonly where: string
  readonly state: NodeState
  readonly reason: string | undefined
}

/** What happened to the commands of the cache since the start. */
export interface ConnectionCounters {
  /** Not sent, because the server was known not to answer. */
  readonly refused: number
  /** Sent, and not answered within their deadline. */
  readonly missed: number
  /** Sent, and lost with their connection, or refused by a server that cannot serve now. */
  readonly lost: number
  /** How often the breaker of a server has opened. */
  readonly opened: number
  /** Connections made to a server, the first ones included. */
  readonly connected: number
}

export type Counting = { -readonly [Name in keyof ConnectionCounters]: ConnectionCounters[Name] }

export function noCounts(): Counting {
  return { refused: 0, missed: 0, lost: 0, opened: 0, connected: 0 }
}

/** Logs each change of the connection once: what was lost and why, and how long it took to come back. */
export class StatusLog {
  #lostAt: number | undefined
  #refusal: string | undefined

  constructor(
    private readonly logger: Logger,
    private readonly where: string,
  ) {}

  /** `isPartial`: some primaries of a cluster answer. */
  changed(status: ConnectionStatus, reason: string, isPartial: boolean): void {
    if (status === 'degraded')
      this.#lost(reason, isPartial ? 'requests whose entry, or a group of it, is there' : undefined)
    if (status === 'unavailable') this.#lost(`is unavailable (${reason})`)
    if (status !== 'ready' || this.#lostAt === undefined) return
    const awayMs = Math.round(performance.now() - this.#lostAt)
    this.#lostAt = undefined
    this.#refusal = undefined
    this.logger.info(`redwell: Redis at ${this.where} is back after ${awayMs} ms`)
  }

  /** The first connection could not be made. Further attempts are not logged. */
  neverConnected(reason: string): void {
    if (this.#lostAt !== undefined) return
    this.#lost(`is unavailable (${reason})`)
    this.#refusal = reason
  }

  /** The server answered and refuses us: another cause than the one that was logged when it was lost. */
  refused(reason: string): void {
    if (this.#lostAt === undefined || this.#refusal === reason) return
    this.#refusal = reason
    this.logger.warn(`redwell: Redis at ${this.where} refuses the connection (${reason})`)
  }

  #lost(what: string, affected = 'requests'): void {
    this.#lostAt ??= performance.now()
    this.logger.warn(`redwell: Redis at ${this.where} ${what}; ${affected} are served without the cache`)
  }
}

/** The addresses as they were given, for messages. */
export function addressesOf({ sentinel, nodes, client }: ResolvedSettings): string {
  if (client !== undefined) return 'the provided client'
  const addresses = (sentinel?.nodes ?? nodes).map(
    ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
  )
  return `${sentinel === undefined ? '' : 'sentinel '}${addresses.join(', ')}`
}

/** Errors of a client that speaks TLS to a plain port, or the other way round; none of them mentions TLS. */
const TLS_MISMATCH = /timeout|ECONNRESET|EPROTO|closed unexpectedly|socket hang up/i

export function connectProblem(error: Error, { tls, client }: ResolvedSettings, everReady: boolean): string {
  const text = error.message === '' ? String(Reflect.get(error, 'code') ?? error.name) : error.message
  if (everReady || client !== undefined || !TLS_MISMATCH.test(text)) return text
  if (tls !== undefined) return `${text}; TLS is on: does this port accept TLS?`
  return /timeout/i.test(text) ? text : `${text}; if this port expects TLS, use rediss:// or tls: true`
}

/** What is wrong with servers that are connected and do not serve. */
export function problemsOf(nodes: readonly NodeStatus[]): string {
  const away = nodes.filter(({ state }) => state !== 'ready')
  if (nodes.length <= 1) return problemOf(away[0])
  const problems = away.map((node) => `${node.where} ${problemOf(node)}`)
  return `has ${nodes.length - away.length} of ${nodes.length} primaries: ${problems.join('; ')}`
}

function problemOf(node: NodeStatus | undefined): string {
  if (node?.reason !== undefined) return `cannot serve now (${node.reason})`
  return node?.state === 'unavailable' ? 'is not connected' : 'does not answer in time'
}

/** The status of all servers together. */
export function statusOf(nodes: readonly Pick<NodeStatus, 'state'>[]): ConnectionStatus {
  if (nodes.length > 0 && nodes.every(({ state }) => state === 'ready')) return 'ready'
  return nodes.some(({ state }) => state !== 'unavailable') ? 'degraded' : 'unavailable'
}
