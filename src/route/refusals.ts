import { LRUCache } from 'lru-cache'
import type { Refusal } from '../cache/explanation.js'
import type { OptionsError } from '../errors.js'
import type { RefusalReason } from '../http/index.js'
import type { Logger } from '../logger.js'
import type { Recorder } from '../telemetry/recorder.js'

/** Why a response was not stored, in the words of a log line. */
const REFUSALS: Readonly<Record<RefusalReason | 'refresh-failed', string>> = {
  method: 'only responses to GET are stored',
  head: 'a HEAD has no content to store',
  'request-no-store': 'the request has Cache-Control: no-store',
  websocket: 'it answers the handshake of a WebSocket',
  precondition: 'the request has If-Match or If-Unmodified-Since',
  authorization: 'the request has Authorization (options `per` and `auth`)',
  status: 'the route does not store its status (option `statuses`, or `ttl` by status)',
  partial: 'it is a partial response',
  truncated: 'its body ended early',
  'set-cookie': 'it sets a cookie (option `setCookie`)',
  principal:
    'its request had another principal after the handler than at the lookup (authenticate before the cache; what signs in or switches accounts is not cached)',
  'unkeyed-read':
    'its handler read a cookie, a credential or the address of the client, which is not part of the key (options `per` and `vary`)',
  'reflected-origin':
    'its Access-Control-Allow-Origin is the Origin of its request, which other responses must not have (add Vary: Origin, or set it before the cache)',
  'store-when': 'the `storeWhen` of the route returned false',
  nonce:
    'its body contains a nonce or token from its own header fields (Content-Security-Policy, X-Csrf-Token), which other responses must not have',
  'response-no-store': 'it has Cache-Control: no-store',
  'response-private': 'it has Cache-Control: private, but the route has no `per`',
  'response-no-cache': 'it has Cache-Control: no-cache but no validator',
  'vary-star': 'it has Vary: *',
  'content-encoding': 'it is already encoded, but does not vary on Accept-Encoding (option `encoded`)',
  'no-freshness': 'neither the route nor the response sets a lifetime',
  'already-stale': 'it is already stale',
  'body-too-large': 'its body is over `maxBodyBytes`',
  'headers-too-large': 'its header fields are over `maxHeaderBytes`',
  'too-many-groups': 'it has more groups than an entry can have',
  'event-stream': 'an event stream never ends',
  'content-location': 'its Content-Location is not its own URI',
  'refresh-failed':
    'the handler failed in the background, its response may not be stored, or a guard refused the refresh; the stale entry stays',
}

/** Keys of one route whose last refusal is remembered. */
const REMEMBERED_MAX = 1000

/** Logs why a route's responses are not stored: each reason once, so that the log stays readable. */
export class RefusalLog {
  readonly #route: string
  readonly #logger: Logger
  readonly #recorder: Recorder
  readonly #logged = new Set<string>()
  /** Made with the first refusal: most routes have none. */
  #last: LRUCache<string, Refusal> | undefined

  constructor(route: string, logger: Logger, recorder: Recorder) {
    this.#route = route
    this.#logger = logger
    this.#recorder = recorder
  }

  /** The last refusal of a key in this process. */
  last(key: string): Refusal | undefined {
    return this.#last?.get(key)
  }

  /** The response of a key was stored: earlier refusals explain nothing. */
  forget(key: string): void {
    this.#last?.delete(key)
  }

  /** `field`: what the handler read, of `unkeyed-read`. `key`: what the response would have been stored under. */
  add(reason: RefusalReason | 'refresh-failed', at: number, key: string | undefined, field?: string): void {
    this.#recorder.refused(reason)
    const read = reason === 'unkeyed-read' && field !== undefined ? ` (it read ${field})` : ''
    const message = `${REFUSALS[reason]}${read}`
    this.#last ??= new LRUCache({ max: REMEMBERED_MAX })
    if (key !== undefined) this.#last.set(key, { reason, message, at: new Date(at) })
    // A status that a route does not store is no mistake: 404 for what does not exist.
    if (reason !== 'status') this.#once(`redwell: a response of ${this.#route} was not stored: ${message}`)
  }

  /** A 200 without a body was stored. */
  storesNothing(): void {
    this.#once(
      `redwell: ${this.#route} answered 200 without a body, and that is stored like any response. Did its handler return undefined? Answer 404 for what does not exist, or leave it out with \`storeWhen\``,
    )
  }

  /** Requests with a principal do not use the cache. */
  bypassesPrincipals(): void {
    this.#once(
      `redwell: ${this.#route} is not cached for requests with a principal. Set \`per: true\` for one entry per principal, or \`shared: true\` if the response does not depend on the principal`,
    )
  }

  /** It has evicted a group that no entry is known to be in. */
  evictsNothing(group: string): void {
    this.#once(
      `redwell: ${this.#route} evicted the group '${group}', which no cached route or namespace of this application declares, and nothing that this process has stored is in it. Is the name right, and the option \`group\` set on what it should evict?`,
    )
  }

  /** The `storeWhen` threw. */
  cannotTell(error: unknown): void {
    this.#once(`redwell: the storeWhen of ${this.#route} threw, so the response was not stored: ${String(error)}`)
  }

  /** A function of `cacheEvict` threw, or named what cannot be a group or a key. */
  evictsAll(): void {
    this.#once(
      `redwell: a function in the cacheEvict of ${this.#route} failed after the handler had written. What it names is not known, so everything under the prefix was invalidated`,
    )
  }

  /** A function of the route's options returned what cannot be used, so its request bypasses the cache. */
  mistake({ message }: OptionsError): void {
    this.#once(`redwell: a request of ${this.#route} bypassed the cache. ${message}`)
  }

  #once(text: string): void {
    if (this.#logged.has(text) || this.#logged.size >= LOGGED_MAX) return
    this.#logged.add(text)
    this.#logger.warn(text)
  }
}

/** Messages may contain what a request sent. */
const LOGGED_MAX = 100
