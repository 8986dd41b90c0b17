import type { ServerFacts } from './server-facts.js'

/** The oldest version that redwell is tested with. */
const OLDEST: readonly [number, number] = [7, 0]

/** What an operator should hear once about a server. Empty where all is well, or where the server does not tell. */
export function warningsAbout(facts: ServerFacts): readonly string[] {
  return [tooOld(facts), badPolicy(facts)].filter((warning) => warning !== undefined)
}

function tooOld({ version }: ServerFacts): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (version === '' || major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined
  return `its version is ${version}; redwell is tested with ${OLDEST.join('.')} and newer`
}

function badPolicy({ maxMemory, evictionPolicy }: ServerFacts): string | undefined {
  if (maxMemory === 0 || evictionPolicy !== 'noeviction') return undefined
  return 'its maxmemory-policy is noeviction: once its memory is full nothing more is cached. allkeys-lru or allkeys-lfu suit a cache'
}

/** Said when the first entry without an expiry is stored: the other policies evict only what has one. */
export function unboundedWarning({ maxMemory, evictionPolicy }: ServerFacts): string | undefined {
  if (evictionPolicy === '' || (maxMemory > 0 && evictionPolicy.startsWith('allkeys'))) return undefined
  const why = maxMemory === 0 ? 'has no maxmemory' : `has maxmemory-policy ${evictionPolicy}`
  return `an entry without a TTL was stored, and the server ${why}, so it never evicts it. Give the route or REDIS_DEFAULT_TTL a lifetime, or the server maxmemory and allkeys-lru; REDIS_WARN_UNBOUNDED_CACHE=false silences this`
}
