import type { HttpPolicy } from '../http/index.js'

/** Fields by which servers tell people apart. Who reads one answers for somebody. */
const CREDENTIALS = ['authorization', 'cookie', 'proxy-authorization', 'x-api-key', 'x-auth-token'] as const

const NONE: readonly string[] = []

/**
 * Credential fields whose values do not select the entry: a handler that reads one gives an answer that others must not
 * be given. `names` are the fields that do select it.
 */
export function unkeyedFields(policy: HttpPolicy, names: readonly string[]): readonly string[] {
  if (policy.unkeyedReads === 'ignore' || policy.personal || policy.unsafeShared) return NONE
  return CREDENTIALS.filter((name) => !names.includes(name) && !(name === 'authorization' && policy.auth === 'shared'))
}
