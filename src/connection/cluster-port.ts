import { setTimeout as pause } from 'node:timers/promises'
import type { RedisClientType, RedisClusterType } from '@redis/client'
import type { CommandArgument, Reply } from './connection.js'
import type { Port } from './lane.js'
import { codeOf, isReply } from './reply-error.js'
import { offline, REPLIES_AS_BYTES } from './send.js'

export type ClusterNode = RedisClusterType['masters'][number]

/** While a slot moves, a script whose keys are on both sides is refused; it is tried again after each of these. */
const TRY_AGAIN_MS = [2, 5, 15]

/**
 * One primary of a cluster, asked directly: the driver's own way makes a plan for each command, and waits where the
 * node is away. A redirection is left to the driver, which then learns the new topology; `follow: false` makes it an
 * error all the same, for who has to know which node answered.
 */
export function clusterPort(cluster: RedisClusterType, node: ClusterNode, follow = true): Port {
  const whole = cluster.withCommandOptions(REPLIES_AS_BYTES)
  const view = viewer()
  const send = async (args: readonly CommandArgument[], key: string | undefined): Promise<Reply> => {
    const client = node.client
    const again = (): Promise<Reply> => whole.sendCommand(key, false, args as CommandArgument[])
    if (client?.isReady !== true) return offline(node.address)
    try {
      return (await view(client as RedisClientType).sendCommand(args)) as Reply
    } catch (error) {
      const code = isReply(error) ? codeOf(error) : undefined
      if (code === 'TRYAGAIN') return tryAgain(again, error)
      if (code !== 'MOVED' && code !== 'ASK') throw error
      const elsewhere = await again().catch((refused: unknown) => tryAgain(again, refused))
      if (follow) return elsewhere
      throw error
    }
  }
  return {
    where: node.address,
    mayBeReplica: true,
    isReady: () => node.client?.isReady === true,
    send,
  }
}

/** The view of a node's client, made anew when the driver replaces the client. */
function viewer(): (client: RedisClientType) => Pick<RedisClientType, 'sendCommand'> {
  let seen: RedisClientType | undefined
  let view: Pick<RedisClientType, 'sendCommand'> | undefined
  return (client) => {
    if (client !== seen || view === undefined) {
      seen = client
      view = client.withCommandOptions(REPLIES_AS_BYTES) as unknown as Pick<RedisClientType, 'sendCommand'>
    }
    return view
  }
}

async function tryAgain(send: () => Promise<Reply>, first: unknown): Promise<Reply> {
  let refused = first
  for (const delayMs of TRY_AGAIN_MS) {
    if (!isReply(refused) || codeOf(refused) !== 'TRYAGAIN') break
    await pause(delayMs)
    try {
      return await send()
    } catch (error) {
      refused = error
    }
  }
  throw refused
}
