import type { HeaderList } from './types.js'

/** All values of a field, joined as one list (RFC 9110 section 5.3); undefined where there is none. Names in any case. */
export function field(headers: HeaderList, name: string): string | undefined {
  let value: string | undefined
  for (let index = 0; index < headers.length; index += 2) {
    const own = headers[index] as string
    if (own.length === name.length && own.toLowerCase() === name) {
      value = value === undefined ? (headers[index + 1] as string) : `${value}, ${headers[index + 1]}`
    }
  }
  return value
}

export function has(headers: HeaderList, name: string): boolean {
  return field(headers, name) !== undefined
}

/** Members of a comma-separated list, lower case, trimmed, empty ones left out. */
export function listMembers(value: string | undefined): string[] {
  if (value === undefined) return []
  return value.toLowerCase().split(',').map((member) => member.trim()).filter((member) => member !== '')
}

/** The fields whose lower-case name passes. */
export function filterFields(headers: HeaderList, keep: (name: string) => boolean): string[] {
  const kept: string[] = []
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] as string
    if (keep(name.toLowerCase())) kept.push(name, headers[index + 1] as string)
  }
  return kept
}

/** Of this connection or this answer only, never stored (RFC 9111 section 3.1, RFC 9110 section 7.6.1). Content-Length is the framework's. */
const NEVER_STORED = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'x-redis-cache',
])

/** The fields of a response that are stored. What Connection names is of the connection, too. */
export function storableFields(headers: HeaderList, without: readonly string[]): string[] {
  const named = listMembers(field(headers, 'connection'))
  return filterFields(headers, (name) => !NEVER_STORED.has(name) && !named.includes(name) && !without.includes(name))
}

/** Bytes of header fields as they stand on the wire: name, colon, space, value, CRLF. */
export function fieldBytes(headers: HeaderList): number {
  let bytes = 0
  for (const text of headers) bytes += text.length + 2
  return bytes
}
