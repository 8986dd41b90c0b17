import { UnavailableError } from '../errors.js'
import type { CommandArgument, CommandChannel, Reply } from './command.js'

export type Topology = 'standalone' | 'cluster' | 'sentinel'

/** A client of a Redis driver as the connection uses it. Each driver that can be used has one of these. */
export interface ClientPort {
  readonly topology: Topology
  /** Whether it was asked to connect. */
  readonly isOpen: boolean
  /** Where it has one server, or sentinels that know the master. `where` names it in messages. */
  readonly channel: (where: string) => CommandChannel
  /** Where it is a cluster. */
  readonly cluster: ClusterPort | undefined
  /** Rejects where the driver does not try again by itself. */
  connect(): Promise<void>
  /** Gracefully while the server answers, by force when it does not. */
  close(): Promise<void>
  /** Reports what may have changed its connections. Returns the function that ends that. */
  listen(events: ClientEvents): () => void
  /** A client like it with connections of its own, not connected yet. */
  duplicate(): ClientPort
  /** A connection for messages of channels. Throws UnavailableError where no server is there to connect to. */
  messages(events: MessageEvents): MessageConnection
}

export interface ClientEvents {
  readonly failed: (error: unknown) => void
  /** `renewed`: there is a new connection to the server of this address; empty where there is only one. */
  readonly changed: (renewed?: string) => void
}

/** The primaries of a cluster as the driver knows them. */
export interface ClusterPort {
  isReady(): boolean
  primaries(): readonly ClusterNode[]
  /** The primary that has the slot of a key. */
  primaryFor(key: string): ClusterNode | undefined
  /** Sends over the whole cluster, following redirections, from which the driver learns the new topology. */
  readonly redirect: CommandChannel['send']
}

/** One primary; the same object as long as the driver knows it. */
export interface ClusterNode {
  readonly address: string
  isReady(): boolean
  /** Connects it, where nothing has yet: the driver would do so with the first command, which would have to wait. */
  connect(): void
  send(args: readonly CommandArgument[]): Promise<Reply>
}

export interface MessageEvents {
  readonly failed: (error: Error) => void
  /** Messages arrive: for the first time, or again after some may have been missed. */
  readonly ready: () => void
  /** It will not come back by itself. */
  readonly ended: () => void
}

/** A connection on which messages arrive. A connection that was lost and is back has its subscriptions again. */
export interface MessageConnection {
  readonly isReady: boolean
  /** Rejects where it cannot be made. */
  connect(): Promise<unknown>
  subscribe(channel: string, listener: (message: Buffer) => void): Promise<unknown>
  unsubscribe(channel: string, listener: (message: Buffer) => void): Promise<unknown>
  close(): Promise<void>
}

/** The driver may hold a command back while it looks for a server; ours are sent now or not at all. */
export function offline(where: string): Promise<never> {
  return Promise.reject(new Error(`Redis at ${where} is not connected.`))
}

/** One of these nodes, for what any of them can answer. */
export function anyOf<Node>(ready: readonly Node[]): Node {
  const node = ready[Math.floor(Math.random() * ready.length)]
  if (node === undefined) throw new UnavailableError('not-ready', 'No node of the cluster is ready.')
  return node
}

/** Rejects with `late()` where a promise takes longer than this. */
export async function within<T>(limitMs: number, promise: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), limitMs)
  })
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer))
}

/** Errors by which drivers pass on an answer of the server; a given client may come from any copy of its driver. */
const REPLY_ERRORS = new Set(['SimpleError', 'BlobError', 'ErrorReply', 'ReplyError'])

/** Whether an error is an answer of the server, such as OOM. Any other error means that no answer came. */
export function isReply(error: unknown): error is Error {
  return error instanceof Error && REPLY_ERRORS.has(error.constructor.name)
}

/** The code of an error reply, which is its first word. */
export function codeOf(error: Error): string {
  const end = error.message.indexOf(' ')
  return end === -1 ? error.message : error.message.slice(0, end)
}

/** Whether the user may not run a command, or one that a script calls: that has no code of its own. */
export function isForbidden(error: Error): boolean {
  return (
    codeOf(error) === 'NOPERM' ||
    /^ERR (ACL failure in script|The user executing the script can't run)/.test(error.message)
  )
}
