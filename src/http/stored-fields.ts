import type { HeaderList } from './contract.js'
import { joinedField, keepFields, listMembers } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'
import type { ResponseDirectives } from './response-directives.js'
import { OWN_TARGET } from './preset.js'

/**
 * Fields of one connection (RFC 9110 section 7.6.1) or one proxy (RFC 9111 section 3.1); `proxy-*` as a whole beside.
 */
const OF_THE_CONNECTION = ['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']

/** The status fields we write ourselves. A handler's Cache-Status tells of caches behind it and is kept. */
export const OWN_STATUS_FIELD = 'x-redis-cache'

/** Content-Length follows from the body; whoever sends it writes it. */
const NEVER_STORED = new Set([...OF_THE_CONNECTION, OWN_STATUS_FIELD, OWN_TARGET, 'content-length'])

/** Whether a field is never stored, whatever the response says. `name` in lower case. */
export function isNeverStored(name: string): boolean {
  return NEVER_STORED.has(name) || name.startsWith('proxy-')
}

/** The fields to store; order and repetition are kept. `without`: more lower-case names to leave out. */
export function storableFields(headers: HeaderList, without: readonly string[] = []): HeaderList {
  const named = listMembers(joinedField(headers, 'connection'))
  return keepFields(headers, (name) => !isNeverStored(name) && !named.includes(name) && !without.includes(name))
}

/**
 * Field names that `private="f"` and `no-cache="f"` keep out of a shared store (RFC 9111 sections 5.2.2.4 and
 * 5.2.2.7).
 */
export function qualifiedFields(directives: ResponseDirectives, policy: HttpPolicy): readonly string[] {
  return policy.personal ? directives.noCacheFields : [...directives.noCacheFields, ...directives.privateFields]
}
