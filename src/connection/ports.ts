import type { RedisClientType, RedisSentinelType } from '@redis/client'
import type { Port } from './lane.js'
import { offline, REPLIES_AS_BYTES } from './send.js'

export function standalonePort(client: RedisClientType, where: string): Port {
  const view = client.withCommandOptions(REPLIES_AS_BYTES)
  return {
    where,
    mayBeReplica: false,
    isReady: () => client.isReady,
    send: (args) => view.sendCommand(args),
  }
}

/**
 * The driver calls sentinels ready while the connection to the master is away, and keeps what is sent meanwhile; that
 * it names no master tells.
 */
export function sentinelPort(sentinel: RedisSentinelType, where: string): Port {
  const view = sentinel.withCommandOptions(REPLIES_AS_BYTES)
  const isReady = (): boolean => sentinel.isReady && sentinel.getMasterNode() !== undefined
  return {
    where,
    mayBeReplica: false,
    isReady,
    send: (args) => (isReady() ? view.sendCommand(false, args as (string | Buffer)[]) : offline(where)),
  }
}
