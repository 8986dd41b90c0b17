import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { Redis } from '../../create-redis.js'
import { DeclaredLimit, type RateLimitInput, type RouteLimit } from '../../limit/route-limit.js'
import { asError, UsageError } from '../../errors.js'
import { settle } from '../../maybe-promise.js'
import { valueAt } from '../../value-at.js'
import { applyLimit, isExempt, limitOn, type LimitOutcome } from '../limiting.js'
import { unwatched } from '../node/peer-watch.js'
import { settleWhenSent } from '../node/rate-limit.js'

/** Rates or options of a route's `config.rateLimit`. */
export type FastifyRateLimit = RateLimitInput<FastifyRequest>

/** Rate limit in a route's `config`. */
export interface ConfigWithRateLimit {
  /** Limits the requests of this route; false exempts it from the limit of the application. */
  rateLimit?: FastifyRateLimit | false
}

declare module 'fastify' {
  // Inherited, so that the declaration of @fastify/rate-limit has precedence over it.
  interface FastifyContextConfig extends ConfigWithRateLimit {}
}

type Done = (error?: Error) => void

/** The limit of a route by its `config`, under the key that the application has chosen. */
function limitOf(config: object | undefined, key: string): FastifyRateLimit | false | undefined {
  return (config as Readonly<Record<string, FastifyRateLimit | false | undefined>> | undefined)?.[key]
}

/** The limit of the whole application, including unknown routes. `key`: that of a route's own limit. */
export function limitApplication(app: FastifyInstance, redis: Redis, input: FastifyRateLimit, key: string): void {
  const { stage, hook } = limitedBy(redis, input, 'rateLimit of the redwell plugin', undefined)
  app.addHook(stage, function redwellApplicationLimit(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    if (limitOf(request.routeOptions.config, key) === false) done()
    else hook(request, reply, done)
  })
}

/**
 * Applies the limits of routes. `key`: that of a limit in `config`. The function takes a route with its name: method and
 * template.
 */
export function limitRoutes(redis: Redis, key: string): (route: RouteOptions, name: string) => void {
  // Fastify declares the HEAD route of a GET from the same `config`: they share a budget.
  const limited = new WeakMap<object, Map<string, Limited>>()
  return (route, name) => {
    const { config, url } = route
    const input = limitOf(config, key)
    if (config === undefined || input === undefined || input === false) return
    if (isOfOther(input)) throw new UsageError(`config.${key} of ${name} ${OF_OTHER}`)
    const byUrl = valueAt(limited, config, () => new Map<string, Limited>())
    const ofGet = route.method === 'HEAD' ? byUrl.get(url) : undefined
    const { stage, hook } = ofGet ?? limitedBy(redis, input, `config.${key} of ${name}`, name)
    byUrl.set(url, { stage, hook })
    const own = [route[stage] ?? []].flat()
    // As the request comes: what a guard of the route refuses, that of sessions as well, counts.
    const hooks = stage === 'onRequest' ? [hook, ...own] : [...own, hook]
    // A new array, because Fastify declares the HEAD route from the same options, where a hook pushed to it would run twice.
    Object.assign(route, { [stage]: hooks })
  }
}

/** Options of @fastify/rate-limit, which has the same key. */
function isOfOther(input: object | string): boolean {
  return typeof input === 'object' && ('max' in input || 'timeWindow' in input)
}

const OF_OTHER =
  "has options of @fastify/rate-limit. Give the limits of redwell another key: app.register(redwell, { names: { rateLimit: 'limit' } })."

/** A limit as a hook. */
interface Limited {
  readonly stage: 'onRequest' | 'preHandler'
  readonly hook: ReturnType<typeof hookOf>
}

/** `route`: undefined for the whole application. */
function limitedBy(redis: Redis, input: FastifyRateLimit, where: string, route: string | undefined): Limited {
  const declared = new DeclaredLimit<FastifyRequest>(where, input)
  const hook = hookOf(declared, limitOn(redis, declared, route))
  return { stage: declared.at === 'request' ? 'onRequest' : 'preHandler', hook }
}

function hookOf(declared: DeclaredLimit<FastifyRequest>, limit: RouteLimit<FastifyRequest>) {
  return function redwellRateLimit(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const proceed = (outcome: LimitOutcome | undefined): void => {
      if (outcome === undefined) return done()
      for (const [name, value] of outcome.fields) reply.header(name, value)
      if (outcome.answer === undefined) {
        // Not by a hook, which would cost every request of the application its listeners.
        settleWhenSent(reply.raw)
        return done(outcome.error)
      }
      const { status, fields, body } = outcome.answer
      for (const [name, value] of fields) reply.header(name, value)
      reply.code(status).send(body)
    }
    const check = () =>
      applyLimit(reply.raw, declared, limit, {
        native: request,
        address: unwatched(() => request.ip),
        isExempt: isExempt(request.raw, request.method, (name) => request.headers[name]),
      })
    settle(check, proceed, (error) => done(asError(error)))
  }
}
