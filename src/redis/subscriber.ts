import { setTimeout as pause } from 'node:timers/promises'
import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { type ClientPort, type MessageConnection, within } from './port.js'
import type { ResolvedSettings } from './settings.js'

/** A subscription that is not confirmed by then is refused; the caller goes on without it. */
const SUBSCRIBE_LIMIT_MS = 1000

/** Pause between attempts at the nodes of a cluster, while none of them accepts subscriptions. */
const MOVE_PAUSE_MS = 100

interface Subscription {
  readonly channel: string
  readonly listener: (message: Buffer) => void
  readonly onReset: () => void
  confirmed: boolean
}

/** The connection on which channel messages arrive, opened for the first subscription. */
export class Subscriber {
  readonly #subscriptions = new Set<Subscription>()
  #opening: Promise<MessageConnection> | undefined
  #opened: MessageConnection | undefined
  #closed = false

  constructor(
    private readonly client: ClientPort,
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
      throw new UnavailableError('error', 'maxConnections is 1: there is no second connection for notifications.')
    const connection = await limited(this.#open())
    // A function of its own, because listeners are kept in a set. Its bytes are ours.
    const onMessage = (message: Buffer): void => listener(Buffer.from(message))
    const subscription = { channel, listener: onMessage, onReset, confirmed: false }
    this.#subscriptions.add(subscription)
    const leave = (): Promise<void> => this.#leave(subscription, connection)
    const confirmed = connection.subscribe(channel, subscription.listener)
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
    this.#subscriptions.clear()
    await this.#opened?.close()
  }

  async #leave(subscription: Subscription, connection: MessageConnection): Promise<void> {
    this.#subscriptions.delete(subscription)
    const current = this.#opened ?? connection
    // A lost connection has no subscription to end, and nothing would reply before it is back.
    const left = current.unsubscribe(subscription.channel, subscription.listener).catch(() => {})
    if (current.isReady) await limited(left).catch(() => {})
  }

  /** One connection for all; an attempt that failed is not kept, so that the next subscription makes another. */
  #open(): Promise<MessageConnection> {
    this.#opening ??= this.#connect().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #connect(): Promise<MessageConnection> {
    let everReady = false
    let logged = false
    const connection = this.client.messages({
      failed: (error) => {
        if (!logged && !this.#closed)
          this.logger.info(`redwell: the connection for notifications was lost (${error.message})`)
        logged = true
      },
      ready: () => {
        if (everReady) this.#reset()
        everReady = true
        logged = false
      },
      ended: () => {
        this.#forget(connection)
        if (everReady && this.client.cluster !== undefined) void this.#move()
      },
    })
    this.#opened = connection
    try {
      await connection.connect()
    } catch (error) {
      this.#forget(connection)
      throw error
    }
    if (this.#closed) await connection.close()
    return connection
  }

  /** One that has stopped reconnecting; the next subscription opens another. */
  #forget(connection: MessageConnection): void {
    if (this.#opened !== connection) return
    this.#opened = undefined
    this.#opening = undefined
  }

  /** Every node of a cluster passes on every message, so any will do in place of the one that was lost. */
  async #move(): Promise<void> {
    while (!this.#closed && this.#subscriptions.size > 0) {
      try {
        const connection = await limited(this.#open())
        const all = [...this.#subscriptions].map(({ channel, listener }) => connection.subscribe(channel, listener))
        await limited(Promise.all(all))
        return this.#reset()
      } catch {
        await pause(MOVE_PAUSE_MS, undefined, { ref: false })
      }
    }
  }

  #reset(): void {
    for (const { confirmed, onReset } of [...this.#subscriptions]) if (confirmed) onReset()
  }
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
