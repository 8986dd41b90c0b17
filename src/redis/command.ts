import type { CommandBudget } from './deadline.js'

export type CommandArgument = string | Buffer

export type Reply = null | number | string | Buffer | readonly Reply[]

/** Receives a reply. Called exactly once, at the latest at the deadline; must not throw. */
export interface Receiver {
  readonly onReply: (reply: Reply) => void
  readonly onError: (error: Error) => void
}

/** A reply as a promise, for callers that can afford one more microtask. */
export function promised(ask: (receiver: Receiver) => void): Promise<Reply> {
  return new Promise((onReply, onError) => ask({ onReply, onError }))
}

/** One server as the driver reaches it. */
export interface CommandChannel {
  /** Names the server in messages. */
  readonly where: string
  /** Of the server itself, where `where` names those that know it. */
  address?(): string | undefined
  /** A node of a cluster redirects for keys of another primary; a lone replica would answer with old data. */
  readonly mayBeReplica: boolean
  /** Whether the driver would write a command now. */
  isReady(): boolean
  /** `key` chooses the node of a cluster that answers; any node where it is undefined. */
  send(args: readonly CommandArgument[], key: string | undefined): Promise<Reply>
  /** Calls back when the connection was lost, or is a new one (`renewed`), where the driver's client has no event for it. */
  watch?(changed: (renewed: boolean) => void): void
}

/** A Lua script with the digest by which the server knows it. */
export interface Script {
  readonly name: string
  /** Keys that it always has; callers may declare more. */
  readonly keyCount: number
  readonly source: string
  readonly sha1: string
}

interface Executor {
  ask(
    args: readonly CommandArgument[],
    key: string | undefined,
    budget: CommandBudget | undefined,
    receiver: Receiver,
  ): void
}

/** EVALSHA, and EVAL where the server does not know the script. */
export function askScript(
  connection: Executor,
  script: Script,
  keys: readonly string[],
  args: readonly CommandArgument[],
  budget: CommandBudget | undefined,
  receiver: Receiver,
): void {
  const [key] = keys
  const command = ['EVALSHA', script.sha1, String(keys.length), ...keys, ...args]
  connection.ask(command, key, budget, {
    onReply: receiver.onReply,
    onError(error) {
      if (!error.message.startsWith('NOSCRIPT')) return receiver.onError(error)
      connection.ask(['EVAL', script.source, ...command.slice(2)], key, budget, receiver)
    },
  })
}

/** The same as a promise. */
export function evaluate(
  connection: Executor,
  script: Script,
  keys: readonly string[],
  args: readonly CommandArgument[],
  budget?: CommandBudget,
): Promise<Reply> {
  return promised((receiver) => askScript(connection, script, keys, args, budget, receiver))
}

/** Slots of a cluster, and the polynomial of its CRC16 (XMODEM), from the Redis Cluster specification. */
export const SLOTS = 16_384

const POLYNOMIAL = 0x1021

const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit += 1) crc = (crc << 1) ^ ((crc & 0x8000) === 0 ? 0 : POLYNOMIAL)
  return crc & 0xffff
})

/** The slot of a key: of the text between its first `{` and the next `}`, where that is not empty. */
export function slotOf(key: string): number {
  let crc = 0
  for (const byte of Buffer.from(hashTagOf(key))) crc = ((crc << 8) & 0xffff) ^ (CRC16[(crc >> 8) ^ byte] ?? 0)
  return crc % SLOTS
}

function hashTagOf(key: string): string {
  const open = key.indexOf('{')
  if (open === -1) return key
  const close = key.indexOf('}', open + 1)
  return close <= open + 1 ? key : key.slice(open + 1, close)
}
