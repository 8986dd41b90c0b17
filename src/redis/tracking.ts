import type { RedisClientType } from '@redis/client'
import { messageOf } from '../errors.js'
import type { Logger } from '../logger.js'
import { closeClient, connectNode, isCluster, isSentinel, masterOf, primariesOf, trackingClient } from './driver.js'
import { within } from './port.js'
import type { NodeRedis } from './settings.js'

/** How often each connection is probed, and the set of connections compared with the servers that have the keys. */
const BEAT_MS = 250

/** A connection whose last answered probe is older than this is abandoned. */
const SILENCE_MAX_MS = 750

/** A silently lost connection is noticed after this time, which is the longest a near cache can lag behind. */
export const TRACKING_LAG_MS = BEAT_MS + SILENCE_MAX_MS

export interface TrackingListener {
  /** Keys below the prefix were written, expired or evicted. */
  changed(keys: readonly string[]): void
  /** Any key may have been. */
  changedAll(): void
  /** Reporting of changes has begun, or ended. */
  trust(trusted: boolean): void
}

/**
 * Changes of the keys below one prefix, as servers report them: `CLIENT TRACKING` in broadcast mode, on a connection of
 * its own to the server, or to each primary of a cluster. The driver restores only plain tracking after a reconnect, so
 * a connection that is lost is replaced by a new one.
 */
export class Tracking {
  readonly #nodes = new Map<string, TrackedNode>()
  #trusted = false
  #closed = false
  #beat: NodeJS.Timeout | undefined
  #looking = false
  #logged: string | undefined

  constructor(
    private readonly main: NodeRedis,
    private readonly prefix: string,
    private readonly listener: TrackingListener,
    private readonly logger: Logger,
  ) {
    this.#beat = setInterval(this.#check, BEAT_MS).unref()
    for (const event of MOVE_EVENTS) main.on(event, this.#check)
    this.#check()
  }

  /** Resolves when all changes that were made before the call have been reported. */
  async caughtUp(): Promise<void> {
    await Promise.all([...this.#nodes.values()].map((node) => node.ask()))
  }

  /** The connections that carry the changes, for tests and for counts. */
  get connections(): number {
    return this.#nodes.size
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#beat)
    for (const event of MOVE_EVENTS) this.main.off(event, this.#check)
    const nodes = [...this.#nodes.values()]
    this.#nodes.clear()
    this.#settle()
    await Promise.all(nodes.map((node) => node.close()))
  }

  readonly #check = (): void => {
    for (const node of this.#nodes.values()) node.beat()
    if (!this.#looking) void this.#look()
  }

  /** Compares with the servers that have the keys now. */
  async #look(): Promise<void> {
    this.#looking = true
    const servers = await serversOf(this.main).catch(() => [])
    this.#looking = false
    if (this.#closed) return
    const wanted = new Map(servers.map((server) => [server.id, server]))
    for (const [id, node] of this.#nodes) {
      if (wanted.has(id) && !node.isLost) continue
      this.#nodes.delete(id)
      void node.close()
    }
    for (const [id, { client }] of wanted) {
      if (this.#nodes.has(id)) continue
      this.#nodes.set(id, new TrackedNode(trackingClient(client), this.prefix, this.listener, this.#settle))
    }
    this.#settle(wanted.size)
  }

  readonly #settle = (wanted = this.#nodes.size): void => {
    const nodes = [...this.#nodes.values()]
    const trusted = wanted > 0 && nodes.length === wanted && nodes.every(({ isArmed }) => isArmed)
    const problem = nodes.find(({ problem: found }) => found !== undefined)?.problem
    if (problem !== undefined && problem !== this.#logged && !this.#closed) {
      this.#logged = problem
      this.logger.warn(`redwell: the near cache is not used, because Redis does not report changes (${problem})`)
    }
    if (trusted === this.#trusted) return
    this.#trusted = trusted
    if (trusted) this.#logged = undefined
    this.listener.trust(trusted)
  }
}

/** After any of these other servers may have the keys. */
const MOVE_EVENTS = ['ready', 'node-ready', 'end', 'reconnecting', 'topology-change', 'node-disconnect'] as const

interface TrackedServer {
  readonly id: string
  readonly client: RedisClientType
}

/** The servers that have the keys; empty while that is not known. */
async function serversOf(main: NodeRedis): Promise<readonly TrackedServer[]> {
  if (isSentinel(main)) {
    if (!main.isReady) return []
    const client = (await masterOf(main)) as RedisClientType
    const { host, port } = (client.options.socket ?? {}) as { host?: string; port?: number }
    return [{ id: `${host}:${port}`, client }]
  }
  if (!isCluster(main)) return main.isReady ? [{ id: '', client: main }] : []
  const primaries = primariesOf(main)
  for (const node of primaries) connectNode(main, node)
  const known = primaries.flatMap(({ address, client }) => (client === undefined ? [] : [{ id: address, client }]))
  // A primary without a connection makes the others useless as well: its changes would be missing.
  return known.length === primaries.length ? known : []
}

/** The connection to one server. It is used once: a lost one is replaced by a new object. */
class TrackedNode {
  isArmed = false
  isLost = false
  /** Why the server does not report changes, in its own words. */
  problem: string | undefined
  /** When the last answered probe was sent. */
  #heardAt = performance.now()
  #asking = false

  constructor(
    private readonly client: RedisClientType,
    prefix: string,
    listener: TrackingListener,
    private readonly onChange: () => void,
  ) {
    client.on('error', () => this.#lose())
    client.on('end', () => this.#lose())
    client.on('invalidate', (key: Buffer | string | null) => {
      // Nothing can have been reported before the broadcast mode was on, because this connection reads no keys.
      if (key === null) listener.changedAll()
      else listener.changed([String(key)])
    })
    void this.#arm(prefix)
  }

  /** Probes the connection; abandons it if probes have gone unanswered for too long. */
  beat(): void {
    if (this.isLost) return
    if (performance.now() - this.#heardAt > SILENCE_MAX_MS) return this.#lose()
    if (this.isArmed && !this.#asking) void this.ask()
  }

  async ask(): Promise<void> {
    if (this.isLost) return
    const askedAt = performance.now()
    this.#asking = true
    try {
      await this.client.ping()
      this.#heardAt = Math.max(this.#heardAt, askedAt)
    } catch {
      this.#lose()
    } finally {
      this.#asking = false
    }
  }

  async close(): Promise<void> {
    this.#lose()
    await closeClient(this.client).catch(() => {})
  }

  async #arm(prefix: string): Promise<void> {
    const askedAt = performance.now()
    try {
      await within(SILENCE_MAX_MS, this.client.connect(), () => new Error('no connection in time'))
      // The driver has switched on the other mode; the two exclude each other.
      await Promise.all([
        this.client.sendCommand(['CLIENT', 'TRACKING', 'OFF']),
        this.client.sendCommand(['CLIENT', 'TRACKING', 'ON', 'BCAST', 'PREFIX', prefix]),
      ])
      this.#heardAt = Math.max(this.#heardAt, askedAt)
      this.isArmed = !this.isLost
      this.onChange()
    } catch (error) {
      this.problem = messageOf(error)
      this.#lose()
    }
  }

  #lose(): void {
    if (this.isLost) return
    this.isLost = true
    this.isArmed = false
    this.onChange()
    if (this.client.isOpen) void closeClient(this.client).catch(() => {})
  }
}
