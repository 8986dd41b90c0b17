import type { Logger } from '../logger.js'
import type { ResolvedSettings } from './settings.js'

/**
 * - `ready`: commands are answered
 * - `degraded`: connected, but the server does not answer in time, or not yet; on a cluster, some primaries are away.
 *   Commands are sent only where they will be answered
 * - `unavailable`: not connected
 * - `closed`: for good
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

  changed(status: ConnectionStatus, reason: string): void {
    if (status === 'degraded') this.#lost(reason)
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

  #lost(what: string): void {
    this.#lostAt ??= performance.now()
    this.logger.warn(`redwell: Redis at ${this.where} ${what}; requests are served without the cache`)
  }
}

/** The addresses as they were given, for messages. */
export function addressesOf({ sentinel, nodes, client }: ResolvedSettings): string {
  if (client !== undefined) return 'the given client'
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
