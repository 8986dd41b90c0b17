/** 2^31: what a larger number of seconds means (RFC 9111 section 1.2.2). */
const MAX_SECONDS = 2 ** 31

/** Directives by lower-case name; the value is what stands after `=`, unquoted, or ''. The first of a repeated directive counts. */
export type Directives = ReadonlyMap<string, string>

const NO_DIRECTIVES: Directives = new Map()

/** A field that is longer than any real one is not parsed: no directive of it counts as permission. */
const MAX_LENGTH = 16_384

/** Parses Cache-Control (RFC 9111 section 5.2). Never throws; what it cannot read is left out. Linear in the length. */
export function parseCacheControl(value: string | undefined): Directives {
  if (value === undefined || value === '') return NO_DIRECTIVES
  const directives = new Map<string, string>()
  for (const member of splitOutsideQuotes(value.length > MAX_LENGTH ? value.slice(0, MAX_LENGTH) : value)) {
    const equals = member.indexOf('=')
    const name = (equals === -1 ? member : member.slice(0, equals)).trim().toLowerCase()
    if (name !== '' && !directives.has(name)) directives.set(name, equals === -1 ? '' : unquote(member.slice(equals + 1).trim()))
  }
  return directives
}

function splitOutsideQuotes(value: string): string[] {
  if (!value.includes('"')) return value.split(',')
  const members: string[] = []
  let start = 0
  let quoted = false
  for (let index = 0; index < value.length; index += 1) {
    const char = value[index]
    if (char === '\\' && quoted) index += 1
    else if (char === '"') quoted = !quoted
    else if (char === ',' && !quoted) {
      members.push(value.slice(start, index))
      start = index + 1
    }
  }
  members.push(value.slice(start))
  return members
}

function unquote(value: string): string {
  const quoted = value.length >= 2 && value.startsWith('"') && value.endsWith('"')
  return quoted ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value
}

/**
 * Delta-seconds of a directive in milliseconds: undefined where it is absent, 0 where it is ill-formed (a cache is
 * encouraged to take such a response for stale, RFC 9111 section 4.2.1).
 */
export function deltaMs(directives: Directives, name: string): number | undefined {
  const value = directives.get(name)
  if (value === undefined) return undefined
  return /^\d+$/.test(value) ? Math.min(Number(value), MAX_SECONDS) * 1000 : 0
}
