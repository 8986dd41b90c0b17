import { NO_REQUEST_DIRECTIVES, parseRequestDirectives } from './cache-control.js'
import type { HttpPolicy } from './options.js'
import type { BypassReason, RequestHead, RequestPlan } from './types.js'

/** The usual request: a GET that says nothing about caching. One object, so that it costs nothing. */
const PLAIN_GET: RequestPlan = Object.freeze({
  outcome: 'lookup',
  reason: undefined,
  stores: 'get',
  refusal: undefined,
  head: false,
  plain: true,
  authorized: false,
  directives: NO_REQUEST_DIRECTIVES,
  onlyIfCached: false,
  collapsible: true,
  ifNoneMatch: undefined,
  ifModifiedSince: undefined,
  range: undefined,
  ifRange: undefined,
})

const PLAIN_HEAD: RequestPlan = Object.freeze({
  ...PLAIN_GET,
  stores: 'none',
  refusal: 'head',
  head: true,
  plain: false,
  collapsible: false,
})

function bypass(reason: BypassReason): RequestPlan {
  return Object.freeze({
    ...PLAIN_GET,
    outcome: 'bypass',
    reason,
    stores: 'none',
    refusal: reason,
    plain: false,
    collapsible: false,
  })
}

const BYPASS_METHOD = bypass('method')

const BYPASS_NO_STORE = bypass('request-no-store')

const BYPASS_PRECONDITION = bypass('precondition')

const BYPASS_POST: RequestPlan = Object.freeze({ ...BYPASS_METHOD, stores: 'post', refusal: undefined })

/** What a request asks of the cache. */
export function planRequest(request: RequestHead, policy: HttpPolicy): RequestPlan {
  const { method } = request
  if (method !== 'GET' && method !== 'HEAD') return planOther(request, policy)
  const cacheControl = policy.clientDirectives === 'honour' ? request.header('cache-control') : undefined
  if (cacheControl !== undefined && parseRequestDirectives(cacheControl).noStore) return BYPASS_NO_STORE
  if (request.header('if-match') !== undefined || request.header('if-unmodified-since') !== undefined)
    return BYPASS_PRECONDITION
  const authorized = policy.auth === 'bypass' && request.header('authorization') !== undefined
  const ifNoneMatch = request.header('if-none-match')
  const ifModifiedSince = request.header('if-modified-since')
  // Range is only defined for GET (RFC 9110 section 14.2).
  const range = method === 'GET' ? request.header('range') : undefined
  const base = method === 'GET' ? PLAIN_GET : PLAIN_HEAD
  if (!cacheControl && !authorized && ifNoneMatch === undefined && ifModifiedSince === undefined && range === undefined)
    return base
  return plan(base, cacheControl, authorized, ifNoneMatch, ifModifiedSince, range, range && request.header('if-range'))
}

function planOther(request: RequestHead, policy: HttpPolicy): RequestPlan {
  if (request.method !== 'POST' || !policy.postContentLocation) return BYPASS_METHOD
  return { ...BYPASS_POST, ...writeRefusal(request, policy), authorized: isAuthorized(request, policy) }
}

type Field = string | undefined

function plan(
  base: RequestPlan,
  cacheControl: Field,
  authorized: boolean,
  ifNoneMatch: Field,
  ifModifiedSince: Field,
  range: Field,
  ifRange: Field,
): RequestPlan {
  const directives = cacheControl ? parseRequestDirectives(cacheControl) : NO_REQUEST_DIRECTIVES
  return {
    outcome: 'lookup',
    reason: undefined,
    stores: base.stores,
    refusal: base.refusal,
    head: base.head,
    plain: false,
    authorized,
    directives,
    onlyIfCached: directives.onlyIfCached,
    // A run for one Range or one client's credentials gives others nothing they may use.
    collapsible: base.collapsible && !authorized && range === undefined,
    ifNoneMatch,
    ifModifiedSince,
    range,
    ifRange,
  }
}

const WRITE: RequestPlan = Object.freeze({ ...BYPASS_METHOD, stores: 'write', refusal: undefined })

/** A write-through: its response becomes the entry that a GET of the path has. */
export function planWrite(request: RequestHead, policy: HttpPolicy): RequestPlan {
  const authorized = isAuthorized(request, policy)
  const refused = writeRefusal(request, policy)
  return refused === undefined && !authorized ? WRITE : { ...WRITE, ...refused, authorized }
}

function writeRefusal(request: RequestHead, policy: HttpPolicy): Pick<RequestPlan, 'stores' | 'refusal'> | undefined {
  const cacheControl = policy.clientDirectives === 'honour' ? request.header('cache-control') : undefined
  if (cacheControl === undefined || !parseRequestDirectives(cacheControl).noStore) return undefined
  return { stores: 'none', refusal: 'request-no-store' }
}

function isAuthorized(request: RequestHead, policy: HttpPolicy): boolean {
  return policy.auth === 'bypass' && request.header('authorization') !== undefined
}
