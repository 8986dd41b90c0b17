import { randomBytes } from 'node:crypto'
import { messageOf, UnavailableError } from '../errors.js'
import type { Connection } from '../redis/connection.js'

/** Names that are tried; a third of the primaries may be away. */
const KEY_TRIES = 20

/** Harmless forms of every command that redwell sends, on a key of its own that is removed again. */
function probes(key: string, channel: string): readonly (readonly string[])[] {
  return [
    ['PING'],
    ['INFO', 'server'],
    ['SET', key, '1', 'PX', '5000'],
    ['GET', key],
    ['MGET', key],
    ['GETRANGE', key, '0', '0'],
    ['SETRANGE', key, '0', '1'],
    ['PTTL', key],
    ['PEXPIRE', key, '5000', 'GT'],
    ['PERSIST', key],
    ['DEL', key],
    ['UNLINK', key],
    ['SCAN', '0', 'COUNT', '1'],
    ['SMISMEMBER', key, '1'],
    ['SCARD', key],
    ['SADD', key, '1'],
    ['UNLINK', key],
    ['ZADD', key, '1', '1'],
    ['ZCARD', key],
    ['ZRANGE', key, '0', '0'],
    ['ZREM', key, '1'],
    ['ZREMRANGEBYSCORE', key, '1', '1'],
    ['HINCRBY', key, 'f', '1'],
    ['HGETALL', key],
    ['EVAL', 'return 1', '1', key],
    ['EVALSHA', '0'.repeat(40), '1', key],
    ['TIME'],
    ['PUBLISH', channel, ''],
    ['UNLINK', key],
  ]
}

/** The same for those that only sessions send. */
function sessionProbes(key: string): readonly (readonly string[])[] {
  return [
    ['EXISTS', key],
    ['HGET', key, 'f'],
    ['HSET', key, 'f', '1'],
    ['HDEL', key, 'f'],
    ['PEXPIREAT', key, '1'],
    ['PEXPIRETIME', key],
    ['ZSCORE', key, '1'],
    ['UNLINK', key],
  ]
}

/**
 * Rules of an ACL that the user of a connection lacks: `+get` for a command, in the order of docs/operations.md,
 * `~shop:*` for keys and `&shop:*` for channels of the prefix.
 */
export async function missingPermissions(connection: Connection, prefix: string): Promise<readonly string[]> {
  const missing = await refusedOf(connection, prefix, (name) => probes(name, `${prefix}:wake`))
  const said = await refusalToSubscribe(connection, `${prefix}:operate:probe`)
  return said === undefined ? missing : [...new Set([...missing, ruleOf(said, 'subscribe', prefix)])]
}

/** What Redis refuses: a command, or its key or channel. */
function ruleOf(said: string, command: string, prefix: string): string {
  if (/access (?:a|one of the) keys?\b/.test(said)) return `~${prefix}:*`
  return /access (?:a|one of the) channels?\b/.test(said) ? `&${prefix}:*` : `+${command}`
}

/** Those that sessions need in addition. */
export function missingForSessions(connection: Connection, prefix: string): Promise<readonly string[]> {
  return refusedOf(connection, prefix, sessionProbes)
}

async function refusedOf(
  connection: Connection,
  prefix: string,
  commands: (key: string) => readonly (readonly string[])[],
): Promise<readonly string[]> {
  const name = await reachableKey(connection, `${prefix}:operate:probe:`)
  const missing = new Set<string>()
  for (const command of commands(name)) {
    const isKeyed = command.includes(name)
    const said = await connection.inspect(command, isKeyed ? name : undefined).then(() => '', messageOf)
    if (said.startsWith('NOPERM')) missing.add(ruleOf(said, (command[0] ?? '').toLowerCase(), prefix))
  }
  return [...missing]
}

/** A new key; on a cluster one of a primary that answers, as far as it is found. */
async function reachableKey(connection: Connection, head: string): Promise<string> {
  let name = ''
  for (let tries = 0; tries < KEY_TRIES; tries += 1) {
    name = head + randomBytes(6).toString('hex')
    const isAway = await connection.inspect(['GET', name], name).then(
      () => false,
      (error: unknown) => error instanceof UnavailableError,
    )
    if (!isAway) break
  }
  return name
}

/** What Redis says where the user may not subscribe. */
async function refusalToSubscribe(connection: Connection, channel: string): Promise<string | undefined> {
  try {
    const leave = await connection.subscribe(
      channel,
      () => {},
      () => {},
    )
    await leave()
    return undefined
  } catch (error) {
    const said = error instanceof Error ? JSON.stringify([error.message, String(error.cause)]) : ''
    return said.includes('NOPERM') ? said : undefined
  }
}

/** Whether the user may switch on tracking, by which near caches are kept true. */
export async function mayTrack(connection: Connection): Promise<boolean> {
  try {
    await connection.inspect(['CLIENT', 'TRACKING', 'OFF'], undefined)
    return true
  } catch (error) {
    return !(error instanceof Error && error.message.startsWith('NOPERM'))
  }
}
