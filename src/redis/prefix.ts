const PREFIX_MAX = 64

/** Parts of redwell's own key names: a prefix with one of them could imitate another prefix's keys. */
const RESERVED_SEGMENTS = new Set([
  'entry',
  'lease',
  'group',
  'clock',
  'wake',
  'lives',
  'variants',
  'limit',
  'session',
  'subject',
  'operate',
  'history',
])

/** Why a text cannot be a prefix of keys, or undefined. */
export function prefixProblem(prefix: unknown): string | undefined {
  if (typeof prefix !== 'string' || !/^[A-Za-z0-9_.:-]+$/.test(prefix) || prefix.length > PREFIX_MAX) {
    return `'${String(prefix)}' is not 1 to ${PREFIX_MAX} of letters, digits, _ . - and :`
  }
  const segments = prefix.split(':')
  if (segments.includes('')) return `'${prefix}' has an empty part between colons`
  const reserved = segments.find((segment) => RESERVED_SEGMENTS.has(segment))
  return reserved === undefined ? undefined : `'${prefix}' has the part '${reserved}', which is reserved`
}
