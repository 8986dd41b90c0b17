import { expect, onTestFinished } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import type { RedisSettings } from '../../src/redis/settings.js'
import type { ConnectionStatus } from '../../src/redis/server.js'
import { UnavailableError } from '../../src/errors.js'
import { freeClusterPort, redisCli } from '../support/redis-cluster.js'
import { recordingLogger } from '../support/logger.js'
import { type RedisServer, type RedisServerOptions, startRedis } from '../support/redis-server.js'

/** A connection that is closed when the test ends, and what it said and was. */
export function open(settings: RedisSettings) {
  const logger = recordingLogger()
  const connection = new Connection(resolveSettings(settings, {}), logger)
  const statuses: ConnectionStatus[] = []
  connection.onStatus((status) => statuses.push(status))
  onTestFinished(() => connection.close())
  return { connection, statuses, lines: logger.lines }
}

/** A server of the test's own: one that it kills or pauses. */
export async function ownServer(options?: RedisServerOptions): Promise<RedisServer> {
  const server = await startRedis(options)
  onTestFinished(() => server.close())
  return server
}

/** Resolves when the connection has that status; the test's own time limit ends the wait. */
export function until(connection: Connection, wanted: ConnectionStatus): Promise<void> {
  if (connection.status === wanted) return Promise.resolve()
  return new Promise((resolve) => {
    const stop = connection.onStatus((status) => {
      if (status !== wanted) return
      stop()
      resolve()
    })
  })
}

/** The reason with which a command is refused. Fails the test when it is not. */
export async function refusal(command: Promise<unknown>): Promise<UnavailableError> {
  try {
    await command
  } catch (error) {
    if (error instanceof UnavailableError) return error
    throw error
  }
  throw new Error('The command was answered.')
}

export const CLUSTER = ['--cluster-enabled', 'yes']

/** One node that has all slots: a cluster to every client. */
export async function clusterNode(port?: number): Promise<RedisServer> {
  const server = await ownServer({ port: port ?? (await freeClusterPort()), args: CLUSTER })
  await assignSlots(server)
  return server
}

/** All slots to one node, and the time that a new cluster takes before it writes. */
export async function assignSlots({ port }: RedisServer): Promise<void> {
  await redisCli('-p', String(port), 'CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  const state = () => redisCli('-p', String(port), 'CLUSTER', 'INFO')
  await expect.poll(state, { timeout: 15_000 }).toContain('cluster_state:ok')
}
