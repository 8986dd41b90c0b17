import type { ValueMissReason } from '../data/types.js'
import type { RefusalReason } from '../http/index.js'
import type { BypassReason, HitReason, MissReason } from '../route/request.js'

type Reason = HitReason | MissReason | BypassReason | RefusalReason | ValueMissReason | 'negative' | 'refresh-failed'

/** What each reason means, and what changes it. A reason that is missing here does not compile. */
const REASONS: Readonly<Record<Reason, readonly [meaning: string, fix: string]>> = {
  // Hits
  fresh: ['within its lifetime', ''],
  collapsed: ["answered by another request's run of the handler", ''],
  // Misses
  absent: ['nothing usable was stored under the key', 'Normal for a first request, or after an invalidation.'],
  stale: ['its lifetime had ended', 'A longer `ttl`, or `staleWhileRevalidate`, serves more from the cache.'],
  softened: ['it was evicted softly', 'With `staleWhileRevalidate` it is served while it is refreshed.'],
  outage: ['Redis could not answer in time', 'See the health of Redis: `redwell doctor`.'],
  unusable: ['the stored entry is not a response', 'Do not store values under the keys of routes.'],
  'hit-for-pass': ['its last response could not be stored', 'See the refusals of the route for the reason.'],
  wait: ['another run took longer than this request waits', 'Raise `wait`, or make the handler faster.'],
  'max-stale': ['past its lifetime, as the client accepts', ''],
  'stale-while-revalidate': ['past its lifetime; it is refreshed in the background', ''],
  'request-no-cache': ['the client sent Cache-Control: no-cache', "`clientDirectives: 'ignore'` prevents that."],
  'request-max-age': ['it was older than the client allows', "`clientDirectives: 'ignore'` prevents that."],
  'request-min-fresh': [
    'its remaining lifetime was shorter than the client requires',
    "`clientDirectives: 'ignore'` prevents that.",
  ],
  'only-if-cached': ['the client does not allow the handler to run: 504', ''],
  'response-no-cache': ['the response asks to be validated before each use', 'Remove no-cache from its Cache-Control.'],
  // Bypasses
  disabled: ['the route has `enabled: false`', 'Remove it to cache the route.'],
  method: ['only GET and HEAD are looked up', ''],
  background: [
    'a background refresh had another key',
    'The key depends on data of the original request that a refresh does not have.',
  ],
  'no-principal': [
    'the route has `per`, but the request has no principal',
    'The route does not cache anonymous requests.',
  ],
  principal: [
    'the request has a principal, but the route has neither `per` nor `shared`',
    'Set `per: true` for one entry per principal, or `shared: true` for all; authenticate before the cache.',
  ],
  'invalid-option': [
    "a function in the route's options returned an invalid value",
    'The log of the application names the route and the option.',
  ],
  when: ['the `when` of the route returned false', ''],
  'request-body': ['a GET with content', 'Give the route a `key` that includes the relevant content.'],
  'request-target': ['the target is not a path, or the request names two hosts', ''],
  'request-no-store': ['the client sent Cache-Control: no-store', "`clientDirectives: 'ignore'` prevents that."],
  websocket: ['the request is the handshake of a WebSocket', ''],
  precondition: ['the request has If-Match or If-Unmodified-Since', ''],
  authorization: [
    'the request has Authorization, but the route has neither `per` nor `auth`',
    'Set `per`, or `auth` if the response is the same for all.',
  ],
  // Refusals
  head: ['a HEAD has no content to store', ''],
  status: ['its status is not stored', 'Name it in `statuses`, or in a `ttl` by status.'],
  partial: ['it is a partial response', ''],
  truncated: ['its body ended early', 'The handler failed or the client disconnected.'],
  'set-cookie': ['it sets a cookie', 'Do not set it on this route, or allow it with `setCookie`.'],
  'unkeyed-read': [
    'its handler read a cookie, a credential or the address of the client, which is not part of the key',
    'Add it to the key with `per` or `vary`, or do not read it.',
  ],
  'reflected-origin': [
    'its Access-Control-Allow-Origin repeats the Origin of its request',
    'Add Vary: Origin, or set the field before the cache.',
  ],
  'store-when': ['the `storeWhen` of the route returned false', ''],
  nonce: [
    'its body contains a nonce or token from its own header fields',
    'Use hashes in Content-Security-Policy, or fetch the token in a separate request.',
  ],
  'response-no-store': ['it has Cache-Control: no-store', 'Remove it from the response.'],
  'response-private': ['it has Cache-Control: private, but the route has no `per`', 'Give the route `per`.'],
  'vary-star': ['it has Vary: *', 'Name the fields that the response depends on.'],
  'content-encoding': ['it is already encoded', 'Compress after the cache, or set `encoded`.'],
  'no-freshness': ['neither the route nor the response sets a lifetime', 'Give the route a `ttl`.'],
  'already-stale': ['it is already stale', 'Its Age or Expires exceeds its lifetime; set `ttl`.'],
  'body-too-large': ['its body is over `maxBodyBytes`', 'Raise `maxBodyBytes`, or paginate.'],
  'headers-too-large': ['its header fields are over `maxHeaderBytes`', 'Raise `maxHeaderBytes`.'],
  'too-many-groups': ['it has more groups than an entry can have', 'Use fewer, coarser groups.'],
  'event-stream': ['an event stream never ends', ''],
  'content-location': ['its Content-Location is not its own URI', ''],
  'refresh-failed': [
    'the handler failed in the background, or a guard refused the request for it',
    'See the log of the application.',
  ],
  // Values
  negative: ['known not to exist', ''],
  undecodable: ['it could not be decoded', 'It was stored with another coder or compression.'],
  invalid: ['it fails the schema of its namespace', 'Raise the `version` of the namespace when its schema changes.'],
}

/** What a reason means in words; the reason itself where it is not known here. */
export function meaningOf(reason: string): string {
  return lookup(reason)?.[0] ?? reason
}

/** What to do about a reason; empty where nothing is to be done. */
export function fixOf(reason: string): string {
  return lookup(reason)?.[1] ?? ''
}

function lookup(reason: string): readonly [meaning: string, fix: string] | undefined {
  return Object.hasOwn(REASONS, reason) ? REASONS[reason as Reason] : undefined
}

/** Meaning and fix of every reason, for a page that has them at hand. */
export function words(): Readonly<Record<string, readonly [meaning: string, fix: string]>> {
  return REASONS
}
