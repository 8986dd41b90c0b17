import type { Peer } from './cookie.js'
import type { SessionData } from './types.js'

/** A request as sessions see it. `Of`: the session of a request. */
export interface SessionRequest<Of> {
  /** The framework's own, for functions of the options. */
  readonly native?: unknown
  readonly cookieHeader: string | undefined
  readonly peer?: (() => Peer) | undefined
  /** Makes the empty object that data is put into. */
  readonly holder?: ((session: Of) => SessionData) | undefined
  /** No client will have its cookie: nothing is saved. */
  readonly isRefresh?: boolean | undefined
  /** Whether the head of the response has left, and with it the last cookie; also where a WebSocket has taken over. */
  readonly isSent?: (() => boolean) | undefined
  /** Whether the head of the response has left, and its body is still on its way. */
  readonly isStreaming?: (() => boolean) | undefined
}

/** What was read of a session: anything, the subject alone, or the subject on behalf of the cache. */
export type SessionRead = 'data' | 'subject' | 'principal'
