import type { RefusalReason } from '../http/types.js'

/** What a log says of a response that was not stored. */
export const REFUSALS: Readonly<Record<RefusalReason, string>> = {
  'request-no-store': 'the request says no-store',
  method: 'only GET responses are stored',
  status: 'its status is not one that the route stores (option `statuses`, or `ttl` by status)',
  'set-cookie': 'it sets a cookie (option `setCookie`)',
  'response-no-store': 'it says Cache-Control: no-store',
  'response-private': 'it says Cache-Control: private, and the route has no `per`',
  'response-no-cache': 'it says Cache-Control: no-cache',
  'vary-star': 'it says Vary: *',
  vary: 'its Vary names too many fields',
  'content-encoding': 'it are already encoded (register compression so that it runs after the cache)',
  'no-lifetime': 'neither the route nor the response gives it a lifetime',
  'body-too-large': 'its body is over `maxBodyBytes`',
  'headers-too-large': 'its header fields are over `maxHeaderBytes`',
  groups: 'it carries too many groups, or one without a proper name',
}
