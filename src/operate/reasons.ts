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
  stale: ['its lifetime was over', 'A longer `ttl`, or `staleWhileRevalidate`, serves more from the cache.'],
  softened: ['it was evicted softly', 'With `staleWhileRevalidate` it is served while it is renewed.'],
  outage: ['Redis could not answer in time', 'See the health of Redis: `redwell doctor`.'],
  unusable: ['what is stored under the key is no response', 'Do not store values under keys of routes.'],
  'hit-for-pass': ['its last response could not be stored', 'See the refusals of the route for the reason.'],
  wait: ['another run took longer than this request waits', 'Raise `wait`, or make the handler faster.'],
  'max-stale': ['past its lifetime, as the client accepts', ''],
  'stale-while-revalidate': ['past its lifetime; it is renewed in the background', ''],
  'request-no-cache': [
    'the client sent Cache-Control: no-cache',
    "`clientDirectives: 'ignore'` lets clients not do that.",
  ],
  'request-max-age': ['it was older than the client allows', "`clientDirectives: 'ignore'` lets clients not do that."],
  'request-min-fresh': [
    'its rest of life was shorter than the client asks',
    "`clientDirectives: 'ignore'` lets clients not do that.",
  ],
  'only-if-cached': ['the client forbids a run: 504', ''],
  'response-no-cache': [
    'the response asks to be validated before each use',
    'Leave no-cache out of its Cache-Control.',
  ],
  // Bypasses
  disabled: ['the route has `enabled: false`', 'Remove it to cache the route.'],
  method: ['only GET and HEAD are looked up', ''],
  background: ['a background refresh came to another key', 'The key depends on what only the first client sent.'],
  'no-principal': ['the route has `per`, and the request no principal', 'Anonymous requests are not cached there.'],
  principal: [
    'the request has a principal, and the route does not say who gets its entries',
    'Write `per: true` for an entry of each principal, or `shared: true`; authenticate before the cache.',
  ],
  'invalid-option': [
    "a function of the route's options returned what cannot be used",
    'The log of the application names route and option.',
  ],
  when: ['the `when` of the route returned false', ''],
  'request-body': ['a GET with content', 'Give the route a `key` that has what counts of the content.'],
  'request-target': ['the target is not a path', ''],
  'request-no-store': [
    'the client sent Cache-Control: no-store',
    "`clientDirectives: 'ignore'` lets clients not do that.",
  ],
  precondition: ['the request has If-Match or If-Unmodified-Since', ''],
  authorization: [
    'the request has Authorization, and the route does not say whose answer it is',
    'Give the route `per`, or `auth` if the answer is the same for all.',
  ],
  // Refusals
  head: ['a HEAD has no content to store', ''],
  status: ['its status is not stored', 'Name it in `statuses`, or in a `ttl` by status.'],
  partial: ['it is a part of a representation', ''],
  truncated: ['its body ended early', 'The handler or its client gave up.'],
  'set-cookie': ['it sets a cookie', 'Do not set it on this route, or allow it with `setCookie`.'],
  'unkeyed-read': [
    'its handler read a cookie or credential that is not part of the key',
    'Add it to the key with `per` or `vary`, or do not read it.',
  ],
  'store-when': ['the `storeWhen` of the route returned false', ''],
  nonce: [
    'its body contains a nonce or a token of its own header fields',
    'Use hashes in Content-Security-Policy, or fetch the token by a request of its own.',
  ],
  'response-no-store': ['it has Cache-Control: no-store', 'Leave that out of the response.'],
  'response-private': ['it has Cache-Control: private, and the route has no `per`', 'Give the route `per`.'],
  'vary-star': ['it has Vary: *', 'Name the fields that it depends on.'],
  'content-encoding': ['it is already encoded', 'Compress outside of the cache, or set `encoded`.'],
  'no-freshness': ['neither the route nor the response sets a lifetime', 'Give the route a `ttl`.'],
  'already-stale': ['it is stale already', 'Its Age or Expires is over; set `ttl`.'],
  'body-too-large': ['its body is over `maxBodyBytes`', 'Raise `maxBodyBytes`, or answer in pages.'],
  'headers-too-large': ['its header fields are over `maxHeaderBytes`', 'Raise `maxHeaderBytes`.'],
  'too-many-groups': ['it carries more groups than an entry can', 'Use fewer, coarser groups.'],
  'event-stream': ['an event stream never ends', ''],
  'content-location': ['its Content-Location is not its own URI', ''],
  'refresh-failed': ['the handler failed in the background', 'See the log of the application.'],
  // Values
  negative: ['known not to exist', ''],
  undecodable: ['its stored form could not be read', 'Another coder or compression wrote it.'],
  invalid: ['it fails the schema of its namespace', 'Raise the `version` of the namespace with its schema.'],
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
