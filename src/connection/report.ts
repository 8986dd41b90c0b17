import type { ConnectionStatus } from './connection.js'
import type { Lane } from './lane.js'
import type { ResolvedSettings } from './settings.js'

type Reachable = Pick<Lane, 'state' | 'reason' | 'port'>

/** The addresses as they were given, for messages. */
export function whereIs({ sentinel, nodes, client }: ResolvedSettings): string {
  if (client !== undefined) return 'the given client'
  const addresses = (sentinel?.nodes ?? nodes).map(
    ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
  )
  return `${sentinel === undefined ? '' : 'sentinel '}${addresses.join(', ')}`
}

/** What an operator is told of servers that are connected and do not serve. */
export function whatIsWrong(lanes: readonly Reachable[]): string {
  const away = lanes.filter(({ state }) => state !== 'ready')
  if (lanes.length <= 1) return problemOf(away[0])
  const nodes = away.map((lane) => `${lane.port.where} ${problemOf(lane)}`)
  return `has ${lanes.length - away.length} of ${lanes.length} primaries: ${nodes.join('; ')}`
}

function problemOf(lane: Reachable | undefined): string {
  if (lane?.reason !== undefined) return `cannot serve now (${lane.reason})`
  return lane?.state === 'unavailable' ? 'is not connected' : 'does not answer in time'
}

/** What the servers together are to an application. */
export function statusOf(lanes: readonly Pick<Lane, 'state'>[]): ConnectionStatus {
  if (lanes.length > 0 && lanes.every(({ state }) => state === 'ready')) return 'ready'
  return lanes.some(({ state }) => state !== 'unavailable') ? 'degraded' : 'unavailable'
}
