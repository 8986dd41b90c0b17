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
 * The master, asked over the driver's own connection to it: through the sentinels' client a command waits whenever the
 * sentinels are asked who the master is, for as long as none of them answers, though the master is well.
 */
export function sentinelPort(sentinel: RedisSentinelType, where: string): Port {
  let master: RedisClientType | undefined
  let view: Pick<RedisClientType, 'sendCommand'> | undefined
  let changed: (renewed: boolean) => void = () => {}
  let looking = false
  const use = (client: RedisClientType): void => {
    if (client === master) return
    master = client
    view = client.withCommandOptions(REPLIES_AS_BYTES) as unknown as Pick<RedisClientType, 'sendCommand'>
    client.on('error', () => changed(false))
    client.on('ready', () => changed(true))
    changed(false)
  }
  const look = async (): Promise<void> => {
    looking = true
    try {
      // oxlint-disable-next-line no-underscore-dangle -- declared by the driver, and its only way to the client itself
      await sentinel._execute(false, async (client) => use(client as unknown as RedisClientType))
    } catch {
      // There is none at the moment; the next look asks again.
    }
    looking = false
  }
  return {
    where,
    mayBeReplica: false,
    isReady() {
      // The driver closes its connection to a master that is one no more.
      if (master?.isOpen !== true && !looking && sentinel.isOpen) void look()
      return master?.isReady === true
    },
    send: (args) => (view === undefined ? offline(where) : view.sendCommand(args)),
    watch(listener) {
      changed = listener
    },
  }
}
