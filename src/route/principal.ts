import { describeValue, OptionsError, UsageError } from '../errors.js'
import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import type { Principal } from './options.js'
import type { KeyPolicy } from './policy.js'

/** A request, and who its application says is asking. */
export interface AskedRequest<Req> {
  readonly native: Req
  /** Undefined where the application has no `principal`. */
  principal?: (() => MaybePromise<Principal | null | undefined>) | undefined
}

/** Why a request has no entry. */
export type Unowned = 'principal' | 'no-principal' | 'when'

/** Whose entry a request has: that of a principal, or the one that requests share (`undefined`), or none. */
export type Owner = { readonly principal: string | undefined } | { readonly bypass: Unowned }

const EVERYBODY: Owner = Object.freeze({ principal: undefined })

const NO_PRINCIPAL: Owner = Object.freeze({ bypass: 'no-principal' })

const LEFT_OUT: Owner = Object.freeze({ bypass: 'when' })

const UNDECLARED: Owner = Object.freeze({ bypass: 'principal' })

/**
 * Whose entry answers a request. A principal never shares one by accident: without `per` or `shared` it has none. Throws
 * OptionsError for what is no principal, and UsageError where `per: true` has nothing to ask.
 */
export function ownerOf<Req>(
  request: AskedRequest<Req>,
  policy: Pick<KeyPolicy<Req>, 'per' | 'shared' | 'when'>,
): MaybePromise<Owner> {
  if (policy.when === undefined) return principalOf(request, policy)
  return chain(policy.when(request.native), (uses) => (uses ? principalOf(request, policy) : LEFT_OUT))
}

function principalOf<Req>(
  request: AskedRequest<Req>,
  { per, shared }: Pick<KeyPolicy<Req>, 'per' | 'shared'>,
): MaybePromise<Owner> {
  if (typeof per === 'function') {
    return chain(per(request.native), (principal) => {
      const text = principalText(principal, 'per')
      return text === undefined ? NO_PRINCIPAL : { principal: text }
    })
  }
  if (shared) return EVERYBODY
  if (request.principal === undefined) {
    if (per === true) throw new UsageError(WITHOUT_PRINCIPAL)
    return EVERYBODY
  }
  return chain(request.principal(), (principal) => {
    const text = principalText(principal, 'principal')
    if (text === undefined) return EVERYBODY
    return per === true ? { principal: text } : UNDECLARED
  })
}

/** The message of `per: true` in an application without `principal`. */
export const WITHOUT_PRINCIPAL =
  "`per: true` needs the application's `principal`: use `redwell({ principal: (request) => … })`, or make `per` a function."

/**
 * Whether somebody else is asking by now than at the lookup, or may be: where the application authenticates behind the
 * cache, or its handler signs in, out, or to another account, the response is not that owner's, nor everybody's. The
 * handler has answered, so this never fails.
 */
export function hasOtherOwner<Req>(
  request: AskedRequest<Req>,
  owner: string | undefined,
  { per, shared }: Pick<KeyPolicy<Req>, 'per' | 'shared'>,
): MaybePromise<boolean> {
  const ask = typeof per === 'function' ? () => per(request.native) : request.principal
  if (shared || ask === undefined) return false
  const isOther = (asked: Principal | null | undefined): boolean => principalText(asked, 'principal') !== owner
  try {
    const asked = ask()
    return isPromise(asked) ? asked.then(isOther).catch(isUnknown) : isOther(asked)
  } catch {
    return true
  }
}

function isUnknown(): boolean {
  return true
}

/** There is no principal. A number without a value, such as the id of a missing user, is none. */
function isNone(principal: Principal | null | undefined): principal is null | undefined {
  return principal === undefined || principal === null || principal === '' || Number.isNaN(principal)
}

/** Undefined: there is none. */
export function principalText(principal: Principal | null | undefined, name: string): string | undefined {
  if (isNone(principal)) return undefined
  if (typeof principal === 'string') return principal
  if (typeof principal === 'number' || typeof principal === 'bigint') return String(principal)
  throw new OptionsError(`result of \`${name}\``, [
    `${describeValue(principal)} must be a string, a number or a bigint; undefined for an anonymous request`,
  ])
}
