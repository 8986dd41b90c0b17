/** What every request is asked for: whether it says anything about caching, conditions, ranges or credentials. */
export const ASKED_OF_ALL: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range',
])
const LENGTHS: readonly boolean[] = lengthsOf(ASKED_OF_ALL)

function lengthsOf(names: ReadonlySet<string>): boolean[] {
  const lengths: boolean[] = []
  for (const { length } of names) lengths[length] = true
  return lengths
}

/**
 * Whether none of the fields that every request is asked for is there. Node makes its object of fields only when it is
 * asked for one; the usual hit does without.
 */
export function saysNothing(rawHeaders: readonly string[]): boolean {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    if (LENGTHS[name.length] === true && ASKED_OF_ALL.has(name.toLowerCase())) return false
  }
  return true
}
