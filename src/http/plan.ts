import { deltaMs, parseCacheControl } from './cache-control.js'
import type { HttpPolicy } from './policy.js'
import type { BypassReason, RequestHead, RequestPlan } from './types.js'

const PLAIN: RequestPlan = Object.freeze({
  bypass: undefined,
  noStore: false,
  noCache: false,
  onlyIfCached: false,
  maxAgeMs: Infinity,
  minFreshMs: 0,
  conditional: false,
})

const CONDITIONAL: RequestPlan = Object.freeze({ ...PLAIN, conditional: true })

/** What a request asks of the cache. The usual request allocates nothing. */
export function planRequest(request: RequestHead, policy: HttpPolicy): RequestPlan {
  const bypass = bypassReason(request, policy)
  if (bypass !== undefined) return { ...PLAIN, bypass }
  const conditional = request.header('if-none-match') !== undefined || request.header('if-modified-since') !== undefined
  const directives = policy.honourDirectives ? request.header('cache-control') : undefined
  if (directives === undefined || directives === '') return conditional ? CONDITIONAL : PLAIN
  return planDirectives(directives, conditional)
}

function bypassReason(request: RequestHead, policy: HttpPolicy): BypassReason | undefined {
  if (request.method !== 'GET' && request.method !== 'HEAD') return 'method'
  if (!policy.personal && !policy.authShared && request.header('authorization') !== undefined) return 'authorization'
  if (request.header('if-match') !== undefined || request.header('if-unmodified-since') !== undefined) return 'precondition'
  return undefined
}

/** RFC 9111 section 5.2.1. */
function planDirectives(value: string, conditional: boolean): RequestPlan {
  const directives = parseCacheControl(value)
  const maxAgeMs = deltaMs(directives, 'max-age') ?? Infinity
  const noStore = directives.has('no-store')
  return {
    bypass: noStore ? 'request-no-store' : undefined,
    noStore,
    noCache: directives.has('no-cache') || maxAgeMs === 0,
    onlyIfCached: directives.has('only-if-cached'),
    maxAgeMs,
    minFreshMs: deltaMs(directives, 'min-fresh') ?? 0,
    conditional,
  }
}
