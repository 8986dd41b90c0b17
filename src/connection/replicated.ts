import { UnavailableError } from '../errors.js'
import type { Port } from './lane.js'

export interface Replicas {
  readonly count: number
  /** How long the server itself waits for them. */
  readonly limitMs: number
}

/** Questions about the server itself: there is nothing in them for replicas. */
const UNREPLICATED = new Set(['INFO', 'PING'])

/**
 * A port whose commands are answered when enough replicas have them. WAIT covers what was written before it on its own
 * connection, and holds up everything behind it; so this is for a connection of its own.
 */
export function replicated(port: Port, { count, limitMs }: Replicas): Port {
  const wait = ['WAIT', String(count), String(Math.ceil(limitMs))]
  return {
    ...port,
    async send(args, key) {
      if (UNREPLICATED.has(String(args[0]))) return port.send(args, key)
      const [reply, acknowledged] = await Promise.all([port.send(args, key), port.send(wait, key)])
      if (Number(acknowledged) >= count) return reply
      throw new UnavailableError('error', `Only ${Number(acknowledged)} of ${count} replicas have the invalidation.`)
    },
  }
}
