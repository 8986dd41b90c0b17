import type { HttpPolicy } from '../http/index.js'

/** Fields by which servers tell people apart. Who reads one answers for somebody. */
const CREDENTIALS = ['authorization', 'cookie', 'proxy-authorization', 'x-api-key', 'x-auth-token'] as const

const NONE: readonly string[] = []

/**
 * Fields that do not select the entry though the answer of a handler that reads one is not for everybody: credentials,
 * and what the route names beside. `names` are the fields that do select it.
 */
export function unkeyedFields(policy: HttpPolicy, names: readonly string[]): readonly string[] {
  if (policy.unkeyedReads === 'ignore') return NONE
  const shared = policy.personal || policy.unsafeShared
  const fields = [...(shared ? NONE : CREDENTIALS), ...policy.unkeyedFields]
  return fields.filter(
    (name) =>
      !names.includes(name) &&
      !(name === 'authorization' && policy.auth === 'shared') &&
      !(name === 'host' && policy.host),
  )
}
