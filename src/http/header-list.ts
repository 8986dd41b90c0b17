import type { HeaderList } from './types.js'

/** `name` must be lower case. */
export function isField(own: string, name: string): boolean {
  return own === name || (own.length === name.length && own.toLowerCase() === name)
}

/** The first line of a field. */
export function firstField(headers: HeaderList, name: string): string | undefined {
  for (let index = 0; index < headers.length; index += 2) {
    if (isField(headers[index] as string, name)) return headers[index + 1]
  }
  return undefined
}

/** All lines of a field as one list (RFC 9110 section 5.3); undefined where there is none. */
export function joinedField(headers: HeaderList, name: string): string | undefined {
  let value: string | undefined
  for (let index = 0; index < headers.length; index += 2) {
    if (!isField(headers[index] as string, name)) continue
    const line = headers[index + 1] as string
    value = value === undefined ? line : `${value}, ${line}`
  }
  return value
}

export function hasField(headers: HeaderList, name: string): boolean {
  return firstField(headers, name) !== undefined
}

/** The fields whose lower-case name passes; the list itself where all do. */
export function keepFields(headers: HeaderList, keep: (name: string) => boolean): HeaderList {
  const kept: string[] = []
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] as string
    if (keep(name.toLowerCase())) kept.push(name, headers[index + 1] as string)
  }
  return kept.length === headers.length ? headers : kept
}

/** Members of a comma-separated list of tokens: lower case, empty ones left out. */
export function listMembers(value: string | undefined): string[] {
  if (value === undefined) return []
  return value
    .toLowerCase()
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member !== '')
}

/** What a field line takes beside its name and value: colon, space, CR, LF. */
const LINE_OVERHEAD = 4

/** Bytes of header fields as HTTP/1.1 writes them. */
export function fieldBytes(headers: HeaderList): number {
  let bytes = 0
  for (const text of headers) bytes += text.length
  return bytes + (headers.length / 2) * LINE_OVERHEAD
}
