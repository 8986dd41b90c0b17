import type { MaybePromise } from '../maybe-promise.js'
import type { RoutePolicy } from './policy.js'
import type { AskedRequest } from './principal.js'

/** A function of the request that has selected its entry: what it reads is part of the key. */
export interface Selector {
  /** The entry belongs to whom it returned. Otherwise it returned a value, of which only what it looked at is keyed. */
  readonly isOwner: boolean
  /** Calls it again, so that its reads can be seen. */
  call(): MaybePromise<unknown>
}

/** The functions that have selected the entry of a request. */
export function selectorsOf<Req>(
  request: AskedRequest<Req>,
  { per, key, http }: Pick<RoutePolicy<Req>, 'per' | 'key' | 'http'>,
  principal: string | undefined,
): readonly Selector[] {
  const selectors: Selector[] = []
  const isOwner = principal !== undefined
  if (typeof per === 'function') selectors.push({ isOwner, call: () => per(request.native) })
  else if (per === true) selectors.push({ isOwner, call: () => request.principal?.() })
  if (key !== undefined) selectors.push({ isOwner: false, call: () => key(request.native) })
  for (const { of } of http.varyValues) {
    const call = typeof of === 'string' ? () => parsedCookie(request.native, of) : () => of(request.native as never)
    selectors.push({ isOwner: false, call })
  }
  return selectors
}

/** Looks at a cookie where libraries put what they have parsed. */
function parsedCookie(request: unknown, name: string): unknown {
  const { cookies, signedCookies } = request as Partial<Record<'cookies' | 'signedCookies', Record<string, unknown>>>
  return [cookies?.[name], signedCookies?.[name]]
}
