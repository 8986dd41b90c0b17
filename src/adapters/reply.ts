import { LATE_CACHE_CONTROL } from '../http/index.js'
import type { FieldSnapshot, FieldTarget } from './fields.js'

/** What a handler of Fastify answers with, also under NestJS. */
interface Reply {
  getHeader(name: string): number | string | string[] | undefined
  send(payload?: unknown): unknown
}

/** Names of fields that belong to this response and not to what the handler has made, though they were set after it ran. */
export type LateFields = (sent: Pick<FieldTarget, 'getHeader'>) => readonly string[]

/**
 * Hooks that run after the handler, such as that of @fastify/session, may set cookies and fields of this response: notes
 * what the handler itself has set until it answers. `before`: the fields that were there before it ran.
 */
export function watchReply(reply: Reply, before: FieldSnapshot, answered: () => void): LateFields {
  const cookies = watchCookies(reply)
  const send = reply.send.bind(reply)
  let late: LateFields = () => []
  const answer = (payload?: unknown): unknown => {
    answered()
    const setsCookies = cookies.end() || setsCookie(reply, payload, before)
    const returned = payload instanceof Response ? payload.headers.get('cache-control') : undefined
    const cacheControl = returned ?? reply.getHeader('cache-control')
    late = (sent) => [
      ...(setsCookies ? [] : ['set-cookie']),
      ...(cacheControl === sent.getHeader('cache-control') ? [] : [LATE_CACHE_CONTROL]),
    ]
    Object.assign(reply, { send })
    return send(payload)
  }
  Object.assign(reply, { send: answer })
  return (sent) => late(sent)
}

/** Whether a handler that has answered with this has set a cookie. */
function setsCookie(reply: Reply, payload: unknown, before: FieldSnapshot): boolean {
  if (payload instanceof Response && payload.headers.has('set-cookie')) return true
  const now = reply.getHeader('set-cookie')
  return now !== undefined && String(now) !== before.get('set-cookie')
}

/** Methods of @fastify/cookie, which sets the field in a hook after the handler. */
const COOKIE_METHODS = ['setCookie', 'cookie', 'clearCookie'] as const

/** Notes whether a handler uses them; `end` returns that, and gives the reply its own methods back. */
function watchCookies(reply: Reply): { end(): boolean } {
  const methods = reply as unknown as Record<string, unknown>
  const restored: Record<string, unknown> = {}
  let used = false
  for (const name of COOKIE_METHODS) {
    const method = methods[name]
    if (typeof method !== 'function') continue
    restored[name] = method
    methods[name] = (...args: unknown[]): unknown => {
      used = true
      return method.apply(reply, args) as unknown
    }
  }
  return {
    end() {
      Object.assign(reply, restored)
      return used
    },
  }
}
