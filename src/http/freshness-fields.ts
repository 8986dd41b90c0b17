import { currentAge } from './age.js'
import type { HeaderList, StoredResponse } from './contract.js'
import { MAX_SECONDS } from './delta-seconds.js'
import { Flag, hasFlag } from './flag.js'
import { isField } from './header-list.js'

/**
 * The generated Cache-Control: what is left of the lifetime, rounded down; `no-cache` where there is no end to count
 * to.
 */
export function generatedCacheControl(freshUntil: number, now: number, personal: boolean): string {
  const seconds = Math.max(0, Math.min(Math.floor((freshUntil - now) / 1000), MAX_SECONDS))
  const lifetime = freshUntil === Infinity ? 'no-cache' : `max-age=${seconds}`
  return personal ? `private, ${lifetime}` : lifetime
}

/**
 * The fields of a hit that tell its age, one way or the other and never both, or the age would count twice: a stored
 * Date with Age (RFC 9111 section 5.1), or a fresh Date with a lifetime that counts down (RFC 9111 section 6).
 */
export function withFreshness(stored: StoredResponse, now: number, validated: boolean): string[] {
  const { flags } = stored
  const counts = !hasFlag(flags, Flag.age)
  const headers = rewrites(flags) ? countDown(stored, now) : stored.headers.slice()
  if (hasFlag(flags, Flag.routeGoverned) && !hasFlag(flags, Flag.ownCacheControl)) {
    headers.push(
      'Cache-Control',
      generatedCacheControl(stored.freshUntil, counts ? now : stored.storedAt, hasFlag(flags, Flag.personal)),
    )
  }
  if (!counts && !validated) headers.push('Age', String(ageSeconds(stored, now)))
  return headers
}

export function ageSeconds(stored: StoredResponse, now: number): number {
  return Math.min(Math.floor(currentAge(stored, now) / 1000), MAX_SECONDS)
}

/** The handler's lifetime without an Age: its own numbers have to shrink. */
function rewrites(flags: number): boolean {
  return (flags & (Flag.age | Flag.routeGoverned)) === 0 && hasFlag(flags, Flag.ownCacheControl)
}

const LIFETIME = /\b(max-age|s-maxage)="?(\d{1,15})"?/gi

function countDown(stored: StoredResponse, now: number): string[] {
  const age = ageSeconds(stored, now)
  return stored.headers.map((text, index, headers) => {
    if (index % 2 === 0 || !isField(headers[index - 1] as string, 'cache-control')) return text
    return text.replace(LIFETIME, (_, name: string, seconds: string) => `${name}=${Math.max(0, Number(seconds) - age)}`)
  })
}

/** Fields a hit does not take from the store. */
export function unstoredFreshness(usesAge: boolean): HeaderList {
  return usesAge ? ['age'] : ['age', 'date']
}
