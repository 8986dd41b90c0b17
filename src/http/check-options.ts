import type { HttpOptions } from './http-options.js'
import type { HttpPolicy } from './http-policy.js'

/** Options that make no sense together. A configuration error is found at start, not by a user. */
export function checkOptions(options: HttpOptions, policy: HttpPolicy, problems: string[]): void {
  if (policy.private && !policy.hasPrincipal && !policy.unsafeShared) {
    problems.push(
      'private: needs `per`, which names whose entry it is; `unsafeShared: true` shares it between all clients',
    )
  }
  if (policy.auth === 'keyed' && !policy.hasPrincipal) {
    problems.push("auth: 'keyed' needs `per`, which names the principal that Authorization stands for")
  }
  if (options.override !== undefined && options.ttl === undefined) {
    problems.push('override: needs `ttl`, the lifetime that outranks what the response says')
  }
  if (policy.ttlMs instanceof Map && options.statuses !== undefined) {
    problems.push('statuses: `ttl` names the statuses already; leave one of the two out')
  }
  if (policy.vary.includes('*'))
    problems.push("vary: '*' matches no request, so nothing could ever be served; leave `cache` out instead")
}
