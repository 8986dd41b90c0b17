import type { CommandArgument, Reply } from '../../connection/connection.js'
import { evaluate, type Script } from '../../connection/script.js'
import type { Line } from './reader.js'

/**
 * A script over the line that waits for replicas. Where that cannot confirm it is done on the primary all the same, so
 * that other processes do not serve what the script removes; the caller is told that it is not sure.
 */
export function surely(
  line: Line,
  sure: Line,
  script: Script,
  keys: readonly string[],
  args: readonly CommandArgument[],
): Promise<Reply> {
  const confirmed = evaluate(sure, script, keys, args)
  if (sure === line) return confirmed
  return confirmed.catch(async (error: unknown) => {
    await evaluate(line, script, keys, args).catch(() => {})
    throw error
  })
}
