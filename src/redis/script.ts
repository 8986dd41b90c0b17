import type { CommandArgument, Connection, Reply } from './connection.js'
import type { CommandBudget } from './deadline.js'

/** A Lua script with the digest the server knows it by. */
export interface Script {
  readonly name: string
  /** Keys it always has; callers may declare more. */
  readonly keyCount: number
  readonly source: string
  readonly sha1: string
}

/** EVALSHA, and EVAL where the server does not know the script (yet, or any more). */
export function evaluate(
  line: Pick<Connection, 'execute'>,
  script: Script,
  keys: readonly string[],
  args: readonly CommandArgument[],
  budget?: CommandBudget,
): Promise<Reply> {
  const rest = [String(keys.length), ...keys, ...args]
  return line.execute(['EVALSHA', script.sha1, ...rest], keys[0], budget).catch((error: unknown) => {
    if (error instanceof Error && error.message.startsWith('NOSCRIPT')) {
      return line.execute(['EVAL', script.source, ...rest], keys[0], budget)
    }
    throw error
  })
}
