import { LATE_CACHE_CONTROL, LATE_COOKIE } from '../http/index.js'
import type { FieldSnapshot, FieldTarget } from './fields.js'
import { RequestProperty } from './request-property.js'

/** What a handler of Fastify answers with, also under NestJS. */
interface Reply {
  getHeader(name: string): number | string | string[] | undefined
  send(payload?: unknown): unknown
  hijack?(): unknown
}

/** Names of fields that belong to this response and not to what the handler has made, though they were set after it ran. */
export type LateFields = (sent: Pick<FieldTarget, 'getHeader'>) => readonly string[]

/** What a handler has set of its reply until it answers. */
class ReplyWatch {
  /** Whether it has used a method of @fastify/cookie. */
  usedCookies = false
  late: LateFields = () => []

  /** `before`: the fields that were there before it ran. */
  constructor(
    private readonly before: FieldSnapshot,
    private readonly answered: () => void,
  ) {}

  answer(reply: Reply, payload: unknown): void {
    this.answered()
    const setsCookies = this.usedCookies || setsCookie(reply, payload, this.before)
    const returned = payload instanceof Response ? payload.headers.get('cache-control') : undefined
    const cacheControl = returned ?? reply.getHeader('cache-control')
    this.late = (sent) => [
      ...(setsCookies ? [] : ['set-cookie']),
      ...(cacheControl === sent.getHeader('cache-control') ? [] : [LATE_CACHE_CONTROL]),
    ]
  }
}

class HandlerWatch {
  usedCookies = false

  constructor(readonly hijacked: () => void) {}
}

const handlers = new RequestProperty<HandlerWatch>()

/** The watches of replies whose handlers have not answered yet. */
const watches = new RequestProperty<ReplyWatch>()

/**
 * Hooks that run after the handler, such as that of @fastify/session, may set cookies and fields of this response: notes
 * what the handler itself has set until it answers. `before`: the fields that were there before it ran.
 */
export function watchReply(reply: Reply, before: FieldSnapshot, answered: () => void): LateFields {
  watchMethods(Object.getPrototypeOf(reply) as Reply)
  const watch = new ReplyWatch(before, answered)
  watches.set(reply, watch)
  return (sent) => watch.late(sent)
}

/**
 * Notes whether a handler sets a cookie by a method of @fastify/cookie, whose field is set by a hook after the decision.
 * `hijacked`: it answers by other means.
 */
export function watchHandler(reply: Reply, hijacked: () => void): LateFields {
  watchMethods(Object.getPrototypeOf(reply) as Reply)
  const watch = new HandlerWatch(hijacked)
  handlers.set(reply, watch)
  return () => (watch.usedCookies ? [LATE_COOKIE] : [])
}

/** Whether a handler that has answered with this has set a cookie. */
function setsCookie(reply: Reply, payload: unknown, before: FieldSnapshot): boolean {
  if (payload instanceof Response && payload.headers.has('set-cookie')) return true
  const now = reply.getHeader('set-cookie')
  return now !== undefined && String(now) !== before.get('set-cookie')
}

/** Methods of @fastify/cookie, which sets the field in a hook after the handler. */
const COOKIE_METHODS = ['setCookie', 'cookie', 'clearCookie'] as const

const watchedPrototypes = new WeakSet<object>()

/**
 * Lets the replies of one scope of an application tell their watch of what is called. At their prototype: replies that have
 * methods of their own are of another shape than those of hits, which makes these slower, too.
 */
function watchMethods(prototype: Reply): void {
  if (watchedPrototypes.has(prototype)) return
  watchedPrototypes.add(prototype)
  const methods = prototype as unknown as Record<string, unknown>
  for (const name of COOKIE_METHODS) {
    watchMethod(methods, name, (reply) => {
      const watch = watches.get(reply) ?? handlers.get(reply)
      if (watch !== undefined) watch.usedCookies = true
    })
  }
  watchMethod(methods, 'hijack', (reply) => handlers.get(reply)?.hijacked())
  watchMethod(methods, 'send', (reply, payload) => {
    const watch = watches.get(reply)
    if (watch === undefined) return
    watches.set(reply, undefined)
    watch.answer(reply as Reply, payload)
  })
}

function watchMethod(
  methods: Record<string, unknown>,
  name: string,
  before: (reply: object, first: unknown) => void,
): void {
  const method = methods[name]
  if (typeof method !== 'function') return
  methods[name] = function watched(this: object, ...args: unknown[]): unknown {
    before(this, args[0])
    return method.apply(this, args) as unknown
  }
}
