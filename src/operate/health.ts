import type { Redis } from '../create-redis.js'
import type { Connection } from '../redis/connection.js'
import { within } from '../redis/port.js'
import { type ConnectionCounters, type ConnectionStatus, factsOf, infoFields } from '../redis/server.js'

/** One server as an operator sees it. Undefined fields: it does not report them. */
export interface ServerHealth {
  readonly where: string
  readonly state: string
  readonly reason: string | undefined
  readonly version: string
  /** Valkey reports its own version next to the one of Redis that it is compatible with. */
  readonly program: string
  readonly role: string
  readonly uptimeSeconds: number
  readonly memoryBytes: number
  /** 0: no limit. */
  readonly maxMemoryBytes: number
  readonly evictionPolicy: string
  readonly evictedKeys: number
  readonly clients: number
  readonly maxClients: number
  readonly commandsPerSecond: number
  readonly replicas: readonly { readonly address: string; readonly state: string; readonly lagSeconds: number }[]
  /** Its data survive a restart by an append-only file. */
  readonly persistence: boolean
  readonly fragmentation: number
}

/** The connection to Redis and the servers behind it. */
export interface RedisHealth {
  readonly status: ConnectionStatus
  readonly topology: string
  readonly counters: ConnectionCounters
  /** What to add to this process' clock to have that of Redis; null: it could not be measured. */
  readonly clockOffsetMs: number | null
  /** Round trip; null: it could not be measured. */
  readonly roundTripMs: number | null
  readonly servers: readonly ServerHealth[]
}

/** Longest wait for a server that hangs. */
const INFO_LIMIT_MS = 2000

/** The connection and every server behind it. Never rejects: `state` reports servers that do not answer. */
export async function healthOf(redis: Redis): Promise<RedisHealth> {
  const { connection, status, counters } = redis
  const topology = connection?.topology ?? 'memory'
  const servers = connection === undefined ? [] : await Promise.all(connection.servers.map(serverHealth))
  const roundTripMs = connection === undefined ? null : await redis.ping().catch(() => null)
  return { status, topology, counters, clockOffsetMs: offsetOf(connection), roundTripMs, servers }
}

function offsetOf(connection: Connection | undefined): number | null {
  if (connection === undefined) return 0
  const isMeasured = connection.servers.some(({ clockOffsetMs }) => clockOffsetMs !== undefined)
  return isMeasured ? connection.clockOffsetMs : null
}

async function serverHealth(server: Connection['servers'][number]): Promise<ServerHealth> {
  const { address: where, state, reason } = server
  const text = state === 'ready' ? await limited(server.inspect(['INFO'])) : undefined
  const info = infoFields(text ?? '')
  const number = (name: string): number => Number(info.get(name) ?? 0)
  const { version, isReplica, maxMemory, evictionPolicy } = factsOf(text ?? '')
  const valkey = info.get('valkey_version')
  return {
    ...{ where, reason, version, evictionPolicy },
    state: state === 'ready' && text === undefined ? 'not answering INFO' : state,
    program: valkey === undefined ? `Redis ${version}` : `Valkey ${valkey}`,
    role: text === undefined ? '' : isReplica ? 'replica' : 'primary',
    uptimeSeconds: number('uptime_in_seconds'),
    memoryBytes: number('used_memory'),
    maxMemoryBytes: maxMemory,
    evictedKeys: number('evicted_keys'),
    clients: number('connected_clients'),
    maxClients: number('maxclients'),
    commandsPerSecond: number('instantaneous_ops_per_sec'),
    replicas: replicasOf(info),
    persistence: info.get('aof_enabled') === '1',
    fragmentation: number('mem_fragmentation_ratio'),
  }
}

async function limited(asking: Promise<unknown>): Promise<string | undefined> {
  return within(INFO_LIMIT_MS, asking, () => new Error('late')).then(String, () => undefined)
}

/** `slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0`. */
function replicasOf(info: ReadonlyMap<string, string>): ServerHealth['replicas'] {
  return [...info].flatMap(([name, value]) => {
    if (!/^slave\d+$/.test(name)) return []
    const fields = new Map(value.split(',').map((pair) => pair.split('=') as [string, string]))
    const address = `${fields.get('ip')}:${fields.get('port')}`
    return [{ address, state: fields.get('state') ?? '', lagSeconds: Number(fields.get('lag') ?? 0) }]
  })
}
