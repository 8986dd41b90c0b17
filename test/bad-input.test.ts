import { afterAll, describe, expect, test } from 'vitest'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import {
  cache,
  cacheEvict,
  cachePut,
  rateLimit,
  redwell,
  type RedwellExpressOptions,
  requireSession,
  sessions,
} from '../src/adapters/express/index.js'
import fastifyRedwell, { type FastifyNames } from '../src/adapters/fastify/index.js'
import { cache as honoCache } from '../src/adapters/hono/index.js'
import { Cached } from '../src/adapters/nestjs/index.js'
import { dashboard, type DashboardOptions } from '../src/dashboard/index.js'
import {
  type CacheEvictOptions,
  type CacheOptions,
  type CachePutOptions,
  createRedis,
  type GetOrSetOptions,
  type NamespaceOptions,
  type RateLimiterOptions,
  type RateLimitOptions,
  Redis,
  RedwellError,
  type RedisOptions,
  type SessionOptions,
} from '../src/index.js'
import { HTTP_OPTIONS } from '../src/http/options.js'
import type { SessionRequirement } from '../src/session/guard.js'
import { silentLogger } from './support/logger.js'
import {
  BYTES,
  COUNT,
  DURATION,
  FLAG,
  FRACTION,
  FUNCTION,
  NAMES,
  OTHERS,
  POSITIVE,
  type Probe,
  PROBES,
  type Rows,
  SECRET,
  TEXT,
  thrownBy,
} from './support/probes.js'

/*
 * Every option of every place where options are declared, with each of these values. What an option takes stands in its
 * row; every other value has to be refused where it is declared, by an error of ours that names option and place. An
 * option without a row does not compile.
 */

const GROUP: readonly Probe[] = [...NAMES, 'none', 'function']

const ENTRY: Rows<Omit<CacheOptions<never> & CachePutOptions<never>, 'clientDirectives'>> = {
  preset: OTHERS,
  ttl: DURATION,
  staleWhileRevalidate: DURATION,
  staleIfError: DURATION,
  staleOnError: FLAG,
  retain: DURATION,
  jitter: FRACTION,
  heuristic: FRACTION,
  override: OTHERS,
  targets: [...NAMES, 'none'],
  statuses: ['none'],
  maxBodyBytes: BYTES,
  maxHeaderBytes: BYTES,
  setCookie: OTHERS,
  encoded: OTHERS,
  unkeyedReads: ['texts', 'none'],
  partial: FLAG,
  postContentLocation: FLAG,
  auth: OTHERS,
  shared: FLAG,
  private: ['false'],
  vary: [...NAMES, 'none'],
  host: FLAG,
  validateOtherVariants: FLAG,
  revalidate: FLAG,
  headUpdate: FLAG,
  forwardConditionals: FLAG,
  collapse: FLAG,
  etag: FLAG,
  freshnessHeaders: OTHERS,
  clientMaxAge: DURATION,
  cacheStatus: ['text', 'false'],
  statusHeader: FLAG,
  autoInvalidate: FLAG,
  invalidateLocations: FLAG,
  groupInvalidation: FLAG,
  invalidateSharedGroups: FLAG,
  emitCacheGroups: FLAG,
  group: GROUP,
  key: FUNCTION,
  per: ['true', 'function'],
  prefix: TEXT,
  query: OTHERS,
  earlyRefresh: FRACTION,
  wait: DURATION,
  concurrency: COUNT,
  lease: POSITIVE,
  when: FUNCTION,
  storeWhen: FUNCTION,
  enabled: FLAG,
}

const EVICT: Rows<CacheEvictOptions<never>> = {
  group: GROUP,
  key: ['function', 'texts', 'none', 'list'],
  per: ENTRY.per,
  prefix: ENTRY.prefix,
  host: FLAG,
  query: OTHERS,
  mode: OTHERS,
}

const LOAD: Rows<Omit<GetOrSetOptions, 'memo'>> = {
  signal: OTHERS,
  ttl: [...DURATION, 'negative'],
  group: [...NAMES, 'none'],
  staleWhileRevalidate: DURATION,
  staleIfError: DURATION,
  jitter: FRACTION,
  negativeTtl: [...DURATION, 'negative'],
  softTimeout: POSITIVE,
  timeout: POSITIVE,
  wait: DURATION,
  concurrency: COUNT,
  shared: FLAG,
}

const { signal: _, ...OF_NAMESPACE } = LOAD

const NAMESPACE: Rows<NamespaceOptions> = {
  ...OF_NAMESPACE,
  group: GROUP,
  version: [...TEXT, 'zero', 'one', 'fraction', 'negative'],
  coder: OTHERS,
  compression: FLAG,
  schema: OTHERS,
  key: FUNCTION,
}

const SESSIONS: Rows<SessionOptions> = {
  store: OTHERS,
  cookie: OTHERS,
  idleTtl: ['duration', 'one'],
  absoluteTtl: OTHERS,
  gcTtl: OTHERS,
  principal: FUNCTION,
  principalKeys: ['texts'],
  subject: FUNCTION,
  describe: FUNCTION,
  maxPerSubject: COUNT,
  initial: FUNCTION,
  schema: OTHERS,
  secrets: OTHERS,
  encryptor: OTHERS,
  coder: OTHERS,
  skip: FUNCTION,
  whenUnavailable: OTHERS,
  refresh: OTHERS,
}

const REQUIREMENT: Rows<SessionRequirement<never>> = {
  issuedWithin: POSITIVE,
  challenge: ['text'],
  onReject: FUNCTION,
}

const LIMITER: Rows<RateLimiterOptions> = {
  rate: OTHERS,
  algorithm: OTHERS,
  ban: OTHERS,
  whenUnavailable: OTHERS,
  localShare: ['fraction', 'one'],
}

const LIMIT: Rows<RateLimitOptions<never>> = {
  ...LIMITER,
  rate: FUNCTION,
  per: FUNCTION,
  ipv6Subnet: COUNT,
  scope: TEXT,
  cost: ['zero', 'one', 'function'],
  countWhen: FUNCTION,
  skip: FUNCTION,
  headers: OTHERS,
  onLimited: FUNCTION,
  at: OTHERS,
}

const SETTINGS: Rows<Omit<RedisOptions, 'client'>> = {
  url: OTHERS,
  host: TEXT,
  port: COUNT,
  db: BYTES,
  username: [...TEXT, 'empty'],
  password: [...TEXT, 'empty'],
  credentials: FUNCTION,
  tls: FLAG,
  cluster: FLAG,
  sentinel: ['false'],
  maxConnections: COUNT,
  socketTimeout: POSITIVE,
  connectTimeout: POSITIVE,
  commandTimeout: POSITIVE,
  invalidationTimeout: POSITIVE,
  waitForReplicas: BYTES,
  trustRestarts: FLAG,
  resp: OTHERS,
  near: OTHERS,
  prefix: TEXT,
  application: TEXT,
  defaultTtl: DURATION,
  warnUnboundedCache: FLAG,
  otel: FLAG,
  otelRedis: FLAG,
  rateLimitDefaultLimit: BYTES,
  rateLimitDefaultWindow: POSITIVE,
  rateLimitFailClosed: FLAG,
  rateLimitEmitHeaders: FLAG,
  rateLimitIetfHeaders: FLAG,
  operate: FLAG,
  logger: OTHERS,
  store: OTHERS,
  // Names are checked by the adapters, which know them: see below.
  defaults: ['object'],
  sessions: OTHERS,
  now: FUNCTION,
}

const DASHBOARD: Rows<DashboardOptions> = { guard: FUNCTION }

/** What may contain a secret is not shown. */
const MASKED = new Set(['username', 'password', 'credentials', 'tls', 'sentinel', 'cluster', 'near', 'port', 'secrets'])

/** A place where options are declared. */
interface Place {
  readonly rows: Readonly<Record<string, readonly Probe[]>>
  /** How errors call it. */
  readonly where: RegExp
  readonly declare: (options: never) => unknown
  /** Options without which the others mean nothing. */
  readonly base?: object
}

const redis = createRedis({ url: 'memory:', logger: silentLogger })
afterAll(() => redis.close())

const load = () => 1
let namespaces = 0

/** Of declarations that share their checks with `cache` of Express: whether they get there, and how they call their place. */
const ONE_EACH = { ttl: DURATION, enabled: FLAG, group: GROUP, query: OTHERS }

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** A decorator on a method of a class. */
const decorate = (decorator: MethodDecorator): unknown => {
  class Items {
    find() {
      return 'x'
    }
  }
  return decorator(Items.prototype, 'find', Object.getOwnPropertyDescriptor(Items.prototype, 'find') as never)
}

const onFastify = async (plugin: object, config: object = {}): Promise<void> => {
  const app = Fastify()
  try {
    await app.register(fastifyRedwell, { url: 'memory:', ...plugin })
    app.get('/items/:id', { config }, async () => 'x')
    await app.ready()
  } finally {
    await app.close()
  }
}

const ADAPTER: Rows<Pick<RedwellExpressOptions, 'principal' | 'redis' | 'defaults'>> = {
  principal: FUNCTION,
  redis: OTHERS,
  defaults: OTHERS,
}

const NAMES_OF_PLUGIN: Rows<FastifyNames> = {
  redis: TEXT,
  cache: TEXT,
  sessions: TEXT,
  cacheGroups: TEXT,
  rateLimit: TEXT,
}

const HTTP = Object.fromEntries(
  Object.entries({ ...ENTRY, clientDirectives: OTHERS }).filter(
    ([name]) => name in HTTP_OPTIONS && name !== 'private' && name !== 'shared',
  ),
)

const PLACES: Readonly<Record<string, Place>> = {
  cache: { rows: { ...ENTRY, clientDirectives: OTHERS }, where: /options of cache:/, declare: cache },
  cachePut: { rows: ENTRY, where: /options of cachePut:/, declare: cachePut },
  cacheEvict: { rows: EVICT, where: /options of cacheEvict:/, declare: cacheEvict, base: { group: 'g', key: 'path' } },
  namespace: {
    rows: NAMESPACE,
    where: /options of namespace 'n\d+'/,
    declare: (options) => redis.cache.namespace(`n${(namespaces += 1)}`, options),
  },
  getOrSet: {
    rows: LOAD,
    where: /options of (getOrSet|a call)/,
    declare: (options) => redis.cache.getOrSet('k', load, options),
  },
  sessions: { rows: SESSIONS, where: /options of sessions/, declare: (options) => sessions(options) },
  requireSession: {
    rows: REQUIREMENT,
    where: /options of requireSession/,
    declare: (options) => requireSession(options),
  },
  rateLimiter: {
    rows: LIMITER,
    where: /options of rateLimiter\('n\d+'\)/,
    declare: (options) => redis.rateLimiter(`n${(namespaces += 1)}`, options),
    base: { rate: '5/minute' },
  },
  rateLimit: {
    rows: LIMIT,
    where: /options of rateLimit/,
    declare: (options) => rateLimit(options),
    base: { rate: '5/minute' },
  },
  createRedis: {
    rows: SETTINGS,
    where: /Redis settings|options of sessions/,
    // A handle connects once it is started.
    declare: (options) => new Redis(options).close(),
  },
  'redwell of Express': {
    rows: ADAPTER,
    where: /options of redwell|defaults/,
    declare: (options: unknown) =>
      redwell(isObject(options) ? { url: 'memory:', ...options } : (options as object)).close(),
  },
  'defaults of redwell': {
    rows: HTTP,
    where: /Invalid (defaults|Redis settings)/,
    declare: (options) => redwell({ url: 'memory:', defaults: options }).close(),
  },
  'names of the Fastify plugin': {
    rows: NAMES_OF_PLUGIN,
    where: /of the redwell plugin/,
    declare: (options) => onFastify({ names: options }),
  },
  'cache of Hono': { rows: ONE_EACH, where: /options of cache/, declare: honoCache },
  '@Cached of Nest': {
    rows: ONE_EACH,
    where: /@Cached of (Items.find|a class)/,
    declare: (options) => decorate(Cached(options)),
  },
  'config.cache of Fastify': {
    rows: ONE_EACH,
    where: /config.cache of GET \/items\/:id/,
    declare: (options) => onFastify({}, { cache: options }),
  },
  dashboard: { rows: DASHBOARD, where: /options of the dashboard/, declare: (options) => dashboard(redis, options) },
}

describe('used before it is set up, a route says what to write', () => {
  test('Express', async () => {
    const app = express()
    app.get('/x', cache({ ttl: 60 }), (_req, res) => void res.send('x'))
    app.use(
      ((error: Error, _req, res, _next) => void res.status(500).send(error.message)) as express.ErrorRequestHandler,
    )
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/x`)
    expect([answer.status, await answer.text()]).toEqual([500, expect.stringContaining('app.use(redwell({ … }))')])
    server.close()
  })

  test('Hono', async () => {
    const app = new Hono()
    app.get('/x', honoCache({ ttl: 60 }), (c) => c.text('x'))
    app.onError((error, c) => c.text(error.message, 500))
    const answer = await app.request('/x')
    expect([answer.status, await answer.text()]).toEqual([
      500,
      expect.stringMatching(/cache of GET \/x.*app\.use\(redwell\(/),
    ])
  })
})

async function refusalOf({ declare, base }: Place, options: object): Promise<string> {
  const error = await thrownBy(() => declare({ ...base, ...options } as never))
  if (error === undefined) return 'accepted'
  return error instanceof RedwellError ? error.message : `no error of redwell: ${(error as Error).message}`
}

describe.each(Object.entries(PLACES))('%s', (_name, place) => {
  test.each(Object.entries(place.rows))('%s', async (option, takes) => {
    const wrong: string[] = []
    for (const [probe, value] of Object.entries(PROBES)) {
      const told = await refusalOf(place, { [option]: value })
      const said = `${probe}: ${told.replaceAll('\n', ' ')}`
      if (takes.includes(probe as Probe)) {
        if (told !== 'accepted') wrong.push(said)
      } else if (!place.where.test(told) || !told.includes(option)) wrong.push(said)
      else if (MASKED.has(option) && told.includes(SECRET)) wrong.push(`shows a secret: ${said}`)
    }
    expect(wrong).toEqual([])
  })

  test('a name with a letter more is refused, with the right one', async () => {
    for (const option of Object.keys(place.rows))
      expect(await refusalOf(place, { [`${option}s`]: 1 })).toMatch(
        new RegExp(`${option}s: there is no such option.*did you mean \`${option}s?\``),
      )
  })

  test('what is no object of options is refused', async () => {
    const { declare, where } = place
    for (const value of [SECRET, 1, true, null, () => 1])
      expect(String(await thrownBy(() => declare(value as never)))).toMatch(where)
  })
})
