import { type Dictionary, isInnerList, parseDictionary } from 'structured-headers'
import type { HeaderList } from './contract.js'
import { joinedField } from './header-list.js'
import { type ResponseDirectives, responseDirectiveReader } from './response-directives.js'

/**
 * The directives of the first valid targeted field, which then stand in for Cache-Control and Expires (RFC 9213 section
 * 2.2). A field that is empty or does not parse is as if it were absent (section 2.1).
 */
export function targetedDirectives(headers: HeaderList, targets: readonly string[]): ResponseDirectives | undefined {
  for (const name of targets) {
    const value = joinedField(headers, name)
    const dictionary = value === undefined ? undefined : parse(value)
    if (dictionary !== undefined && dictionary.size > 0) return read(dictionary)
  }
  return undefined
}

function parse(value: string): Dictionary | undefined {
  try {
    return parseDictionary(value)
  } catch {
    return undefined
  }
}

/** Parameters are ignored. A value of the wrong type never lengthens a lifetime nor lifts a prohibition. */
function read(dictionary: Dictionary): ResponseDirectives {
  const reader = responseDirectiveReader()
  for (const [name, member] of dictionary) {
    if (isInnerList(member)) reader.read(name, '')
    else if (member[0] !== false) reader.read(name, argumentOf(name, member[0]))
  }
  return reader.result()
}

/** Lifetimes are Integers: a String that looks like one is as ill-formed as any other. */
const LIFETIMES = new Set(['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error'])

function argumentOf(name: string, value: unknown): string | undefined {
  if (value === true) return undefined
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && !LIFETIMES.has(name) ? value : ''
}
