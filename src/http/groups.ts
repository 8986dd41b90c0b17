import { parseList } from 'structured-headers'
import { field } from './fields.js'
import type { HeaderList } from './types.js'

/** Names in a response's Cache-Groups: a List of Strings (RFC 9875 section 2). Undefined where there is none; an ill-formed field is ignored. */
export function responseGroups(headers: HeaderList): readonly string[] | undefined {
  const value = field(headers, 'cache-groups')
  if (value === undefined) return undefined
  try {
    const names = parseList(value).map(([item]) => item)
    return names.every((name) => typeof name === 'string') ? names : undefined
  } catch {
    return undefined
  }
}
