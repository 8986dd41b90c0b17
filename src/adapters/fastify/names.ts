import type { FastifyInstance } from 'fastify'
import { describeValue, isOptionsObject, OptionsError, unknownOptions, UsageError } from '../../errors.js'

/** Names for what the plugin adds, if other plugins use its own. */
export interface FastifyNames {
  /** Property of the application: the `Redis` handle. Default `redis`, which @fastify/redis uses as well. */
  readonly redis?: string | undefined
  /** Property of the application: the data cache. Default `cache`, which @fastify/caching uses as well. */
  readonly cache?: string | undefined
  /** Property of the application: lists and ends sessions. Default `sessions`. */
  readonly sessions?: string | undefined
  /** Method of the reply that adds groups. Default `cacheGroups`. */
  readonly cacheGroups?: string | undefined
  /** Key of a route's `config`: its rate limit. Default `rateLimit`, which @fastify/rate-limit uses as well. */
  readonly rateLimit?: string | undefined
}

export type ResolvedNames = { readonly [Name in keyof FastifyNames]-?: string }

const OWN: ResolvedNames = {
  redis: 'redis',
  cache: 'cache',
  sessions: 'sessions',
  cacheGroups: 'cacheGroups',
  rateLimit: 'rateLimit',
}

/** Throws OptionsError for an unknown name, and for one that is no name. */
export function resolveNames(names: FastifyNames = {}): ResolvedNames {
  const where = 'names of the redwell plugin'
  if (!isOptionsObject(names)) throw new OptionsError(where, [`${describeValue(names)} is not an object of names`])
  const problems = unknownOptions(names, Object.keys(OWN))
  for (const [name, value] of Object.entries(names))
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      problems.push(`${name}: ${describeValue(value)} is not a name`)
  if (problems.length > 0) throw new OptionsError(where, problems)
  const given = Object.entries(names).filter(([, value]) => value !== undefined)
  return { ...OWN, ...Object.fromEntries(given) }
}

const REGISTERED = Symbol('redwell.registered')

/** Throws UsageError where the plugin is registered already, or another has taken one of the names. */
export function reserveNames(app: FastifyInstance, names: ResolvedNames): void {
  if (app.hasDecorator(REGISTERED)) {
    throw new UsageError(
      'redwell is registered on this application already: register redwell once, around all routes that use it. For a second Redis, use createRedis().',
    )
  }
  const taken = (['redis', 'cache', 'sessions'] as const).filter((name) => app.hasDecorator(names[name]))
  if (taken.length > 0) {
    const list = taken.map((name) => `app.${names[name]}`).join(' and ')
    const instead = taken.map((name) => `${name}: 'redwell${name[0]?.toUpperCase()}${name.slice(1)}'`).join(', ')
    throw new UsageError(
      `Another plugin has ${list} already. Give redwell other names: app.register(redwell, { names: { ${instead} } }).`,
    )
  }
  app.decorate(REGISTERED, true)
}
