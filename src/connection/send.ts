import type { RedisClientType, RedisClusterType, RedisSentinelType } from '@redis/client'
import type { NodeRedis, Topology } from './client.js'
import type { CommandArgument, Reply } from './connection.js'

/** `key` says which node of a cluster answers; without one any does. */
export type Send = (args: readonly CommandArgument[], key: string | undefined) => Promise<Reply>

/** `$`, the driver's `RESP_TYPES.BLOB_STRING`. */
const BLOB_STRING = 36

/** No time-out of the driver (it makes a signal per command): the deadline is ours. The cast is for its exact optional type. */
const REPLIES_AS_BYTES = { timeout: undefined, typeMapping: { [BLOB_STRING]: Buffer } } as unknown as {
  typeMapping: { [BLOB_STRING]: typeof Buffer }
}

/**
 * Our way to send over the application's client and its connection, without its options. The view is made once:
 * options given with each command are merged by the driver each time, which doubles the CPU time of a GET.
 */
export function senderOf(client: NodeRedis, topology: Topology): Send {
  switch (topology) {
    case 'cluster': {
      const cluster = (client as RedisClusterType).withCommandOptions(REPLIES_AS_BYTES)
      return (args, key) => cluster.sendCommand(key, false, args as CommandArgument[])
    }
    case 'sentinel': {
      const sentinel = (client as RedisSentinelType).withCommandOptions(REPLIES_AS_BYTES)
      return (args) => sentinel.sendCommand(false, args as CommandArgument[])
    }
    default: {
      const standalone = (client as RedisClientType).withCommandOptions(REPLIES_AS_BYTES)
      return (args) => standalone.sendCommand(args)
    }
  }
}
