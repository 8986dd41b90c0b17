import type { RedisClientType } from '@redis/client'
import { setTimeout as pause } from 'node:timers/promises'
import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { closeClient, duplicateOnce, isCluster, isSentinel, primariesOf, within } from './driver.js'
import type { NodeRedis, ResolvedSettings } from './settings.js'

/** A subscription that is not confirmed by then is refused; the caller goes on without it. */
const SUBSCRIBE_LIMIT_MS = 1000

/** Pause between attempts at the nodes of a cluster, while none of them accepts subscriptions. */
const MOVE_PAUSE_MS = 100

/**
 * After any of these a sentinel's own subscription connection may have moved to another node. A reset too many is
 * harmless: a waiter that was woken for nothing looks up once more.
 */
const MOVE_EVENTS = ['ready', 'topology-change'] as const

interface Subscription {
  readonly channel: string
  readonly listener: (message: string | Buffer) => void
  readonly onReset: () => void
  confirmed: boolean
}

/** The connection on which channel messages arrive, opened for the first subscription. */
export class Subscriber {
  readonly #subscriptions = new Set<Subscription>()
  #opening: Promise<NodeRedis> | undefined
  /** The connection of its own, where there is one. */
  #opened: NodeRedis | undefined
  #closed = false

  constructor(
    private readonly main: NodeRedis,
    private readonly settings: ResolvedSettings,
    private readonly logger: Logger,
  ) {}

  /** Resolves with the function that ends the subscription. */
  async subscribe(
    channel: string,
    listener: (message: Buffer) => void,
    onReset: () => void,
  ): Promise<() => Promise<void>> {
    if (this.settings.maxConnections === 1)
      throw new UnavailableError('error', 'maxConnections is 1: there is no second connection for wake-ups.')
    const client = await limited(this.#open())
    // A function of its own, because the driver keeps listeners in a set. Its type has texts, which are not asked for.
    const onMessage = (message: string | Buffer): void => listener(Buffer.from(message))
    const subscription = { channel, listener: onMessage, onReset, confirmed: false }
    this.#subscriptions.add(subscription)
    const leave = (): Promise<void> => this.#leave(subscription, client)
    const confirmed = client.subscribe(channel, subscription.listener, true)
    try {
      await limited(confirmed)
    } catch (error) {
      this.#subscriptions.delete(subscription)
      // In case it is confirmed after all.
      confirmed.then(leave, () => {})
      throw error
    }
    subscription.confirmed = true
    return leave
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const event of MOVE_EVENTS) this.main.off(event, this.#reset)
    this.#subscriptions.clear()
    if (this.#opened !== undefined) await closeClient(this.#opened)
  }

  async #leave(subscription: Subscription, client: NodeRedis): Promise<void> {
    this.#subscriptions.delete(subscription)
    const current = this.#opened ?? client
    // A connection that is away has no subscription to end, and nothing would answer before it is back.
    const left = current.unsubscribe(subscription.channel, subscription.listener, true).catch(() => {})
    if (current.isReady) await limited(left).catch(() => {})
  }

  /** One connection for all; an attempt that failed is not kept, so that the next subscription makes another. */
  #open(): Promise<NodeRedis> {
    this.#opening ??= this.#connect().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #connect(): Promise<NodeRedis> {
    if (isSentinel(this.main)) {
      // A sentinel client keeps a connection for subscriptions, and moves it along with the master.
      for (const event of MOVE_EVENTS) this.main.on(event, this.#reset)
      return this.main
    }
    const client = isCluster(this.main) ? duplicateOnce(readyNode(this.main)) : this.main.duplicate()
    this.#opened = client
    this.#watch(client)
    try {
      await client.connect()
    } catch (error) {
      this.#forget(client)
      throw error
    }
    if (this.#closed) await closeClient(client)
    return client
  }

  /** The driver subscribes anew before it emits `ready`. */
  #watch(client: RedisClientType): void {
    let everReady = false
    let logged = false
    client.on('error', (error: Error) => {
      if (!logged && !this.#closed) this.logger.info(`redwell: the connection for wake-ups was lost (${error.message})`)
      logged = true
    })
    client.on('ready', () => {
      if (everReady) this.#reset()
      everReady = true
      logged = false
    })
    client.on('terminated', () => {
      this.#forget(client)
      if (everReady && isCluster(this.main)) void this.#move()
    })
  }

  /** A client that has stopped reconnecting; the next subscription opens another. */
  #forget(client: NodeRedis): void {
    if (this.#opened !== client) return
    this.#opened = undefined
    this.#opening = undefined
  }

  /** Every node of a cluster passes on every message, so any will do in place of the one that was lost. */
  async #move(): Promise<void> {
    while (!this.#closed && this.#subscriptions.size > 0) {
      try {
        const client = await limited(this.#open())
        const all = [...this.#subscriptions].map(({ channel, listener }) => client.subscribe(channel, listener, true))
        await limited(Promise.all(all))
        return this.#reset()
      } catch {
        await pause(MOVE_PAUSE_MS, undefined, { ref: false })
      }
    }
  }

  readonly #reset = (): void => {
    for (const { confirmed, onReset } of [...this.#subscriptions]) if (confirmed) onReset()
  }
}

function readyNode(cluster: Parameters<typeof primariesOf>[0]): RedisClientType {
  const ready = primariesOf(cluster).flatMap(({ client }) => (client?.isReady === true ? [client] : []))
  const node = ready[Math.floor(Math.random() * ready.length)]
  if (node === undefined) throw new UnavailableError('not-ready', 'No node of the cluster is ready.')
  return node
}

/** The driver has no time limit for a subscription. */
async function limited<T>(promise: Promise<T>): Promise<T> {
  const message = `Redis did not confirm a subscription within ${SUBSCRIBE_LIMIT_MS} ms.`
  try {
    return await within(SUBSCRIBE_LIMIT_MS, promise, () => new UnavailableError('deadline', message))
  } catch (error) {
    if (error instanceof UnavailableError) throw error
    throw new UnavailableError('error', 'The subscription was lost with its connection.', { cause: error })
  }
}
