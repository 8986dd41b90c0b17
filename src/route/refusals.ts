import type { RefusalReason } from '../http/index.js'

/** What a log says of a response that was not stored. */
export const REFUSALS: Readonly<Record<RefusalReason, string>> = {
  method: 'only responses to GET are stored',
  head: 'a HEAD has no content to store',
  'request-no-store': 'the request says no-store',
  precondition: 'the request has If-Match or If-Unmodified-Since',
  authorization: 'the request has Authorization (options `per` and `auth`)',
  status: 'its status is not one that the route stores (option `statuses`, or `ttl` by status)',
  partial: 'it is a part of a representation',
  truncated: 'its body ended early',
  'set-cookie': 'it sets a cookie (option `setCookie`)',
  'unkeyed-read': 'its handler read a cookie or credential that is not part of the key (options `per` and `vary`)',
  'response-no-store': 'it says Cache-Control: no-store',
  'response-private': 'it says Cache-Control: private, and the route has no `per`',
  'response-no-cache': 'it says Cache-Control: no-cache and has nothing to validate it by',
  'vary-star': 'it says Vary: *',
  'content-encoding': 'it is already encoded, and does not vary on Accept-Encoding (option `encoded`)',
  'no-freshness': 'neither the route nor the response gives it a lifetime',
  'already-stale': 'it is stale already',
  'body-too-large': 'its body is over `maxBodyBytes`',
  'headers-too-large': 'its header fields are over `maxHeaderBytes`',
  'too-many-groups': 'it carries more groups than an entry can',
  'content-location': 'its Content-Location is not its own URI',
}
