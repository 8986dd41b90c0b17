import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type * as common from '@nestjs/common'
import type * as core from '@nestjs/core'
import type * as platform from '@nestjs/platform-fastify'
import express, { type RequestHandler } from 'express'
import { Hono } from 'hono'
import type { Bench } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { makeItem, SMALL_BYTES, TTL, TTL_SECONDS } from '../harness/items.js'
import { againstPeer, type PeerRow, Runs } from '../harness/peers.js'
import type { Outcome, Row, Running, Subject } from '../harness/row.js'
import { importedPeer, installPeers, peer } from '../peers/index.js'

type Where = 'memory' | 'redis'

const PATH = '/items/:id'

async function onPort(server: Server, runs: Runs): Promise<Running> {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening')
  return { port: (server.address() as AddressInfo).port, answer: runs.answer }
}

/** The same handler for all: an object, and its JSON. */
function item(id: string, runs: Runs): object {
  runs.count()
  return makeItem(id, SMALL_BYTES)
}

function onExpress(...handlers: [RequestHandler, ...RequestHandler[]]): Promise<Running> {
  const runs = new Runs()
  const app = express()
  const route = handlers.pop() as RequestHandler
  for (const handler of handlers) app.use(handler)
  app.get(PATH, route, (req, res) => void res.json(item(req.params['id'] as string, runs)))
  const server = app.listen(0, '127.0.0.1')
  return once(server, 'listening').then(() => onPort(server, runs))
}

const redwellExpress =
  (where: Where): Subject =>
  async ({ redisUrl }) => {
    const { cache, redwell } = await import('redwell/express')
    const connected = redwell({ url: where === 'memory' ? 'memory:' : redisUrl })
    await connected.redis.connect()
    return onExpress(connected as RequestHandler, cache({ ttl: TTL }) as RequestHandler)
  }

interface ApiCache {
  options(options: object): ApiCache
  middleware(duration: string): RequestHandler
}

/** As its documentation shows it; its driver is that of `redis` 3. */
const apicache =
  (where: Where): Subject =>
  async ({ redisUrl }) => {
    const cache = peer('apicache') as ApiCache
    if (where === 'memory') return onExpress(cache.middleware('1 hour'))
    const client = (peer('redis3') as { createClient(url: string): NodeJS.EventEmitter }).createClient(redisUrl)
    await once(client, 'ready')
    return onExpress(cache.options({ redisClient: client }).middleware('1 hour'))
  }

const routeCache: Subject = async () =>
  onExpress((peer('route-cache') as { cacheSeconds(seconds: number): RequestHandler }).cacheSeconds(TTL_SECONDS))

const redwellHono =
  (where: Where): Subject =>
  async ({ redisUrl }) => {
    const { cache, redwell } = await import('redwell/hono')
    const runs = new Runs()
    const connected = redwell({ url: where === 'memory' ? 'memory:' : redisUrl })
    await connected.redis.connect()
    const app = new Hono()
    app.use(connected)
    app.get(PATH, cache({ ttl: TTL }), (c) => c.json(item(c.req.param('id'), runs)))
    return onPort(createAdaptorServer({ fetch: app.fetch }) as Server, runs)
  }

interface Ocache {
  readonly defineCachedHandler: (handler: (event: { req: Request }) => unknown, options: object) => never
  readonly createMemoryStorage: () => object
  readonly createBlobStorage: (backend: object) => object
}

interface H3 {
  H3: new () => { get(path: string, handler: never): unknown }
  readonly toNodeHandler: (app: object) => (req: unknown, res: unknown) => void
}

/** ocache with its own framework. Over Redis through its byte storage, which is the faster of the two that it has. */
const ocache =
  (where: Where): Subject =>
  async ({ redisUrl }) => {
    const { createServer } = await import('node:http')
    const { defineCachedHandler, createMemoryStorage, createBlobStorage } = (await importedPeer('ocache')) as Ocache
    const { H3 } = (await importedPeer('h3')) as H3
    const { toNodeHandler } = (await importedPeer('h3/node')) as H3
    const client = where === 'memory' ? undefined : await tunedClient(redisUrl)
    const storage =
      client === undefined
        ? createMemoryStorage()
        : createBlobStorage({
            get: (key: string) => client.get(key),
            set: (key: string, value: Uint8Array | null, { ttl = TTL_SECONDS } = {}) =>
              value === null
                ? client.del(key)
                : client.set(key, Buffer.from(value.buffer, value.byteOffset, value.byteLength), {
                    expiration: { type: 'EX', value: ttl },
                  }),
          })
    const runs = new Runs()
    const app = new H3()
    const handler = defineCachedHandler(
      ({ req }) => Response.json(item(new URL(req.url).pathname.slice('/items/'.length), runs)),
      { maxAge: TTL_SECONDS, storage },
    )
    app.get(PATH, handler)
    return onPort(createServer(toNodeHandler(app)), runs)
  }

interface NestPackages {
  readonly common: typeof common
  readonly core: typeof core
  readonly platform: typeof platform
}

async function onNest(
  { common, core, platform }: NestPackages,
  module: object,
  decorate: (prototype: object, descriptor: PropertyDescriptor) => void,
): Promise<Running> {
  const runs = new Runs()
  class Items {
    find(id: string): object {
      return item(id, runs)
    }
  }
  const descriptor = Object.getOwnPropertyDescriptor(Items.prototype, 'find') ?? {}
  common.Get(':id')(Items.prototype, 'find', descriptor)
  common.Param('id')(Items.prototype, 'find', 0)
  decorate(Items.prototype, descriptor)
  common.Controller('items')(Items)
  class Application {
    readonly name = 'items'
  }
  const app = await core.NestFactory.create(
    { ...module, module: Application, controllers: [Items] },
    new platform.FastifyAdapter(),
    { logger: false, abortOnError: false },
  )
  await app.listen(0, '127.0.0.1')
  return { port: Number(new URL(await app.getUrl()).port), answer: runs.answer }
}

const redwellNest =
  (where: Where): Subject =>
  async ({ redisUrl }) => {
    const { Cached, RedwellModule } = await import('redwell/nestjs')
    const packages = {
      common: await import('@nestjs/common'),
      core: await import('@nestjs/core'),
      platform: await import('@nestjs/platform-fastify'),
    }
    const url = where === 'memory' ? 'memory:' : redisUrl
    return onNest(packages, { imports: [RedwellModule.forRoot({ url, connect: true })] }, (prototype, descriptor) =>
      Cached({ ttl: TTL })(prototype, 'find', descriptor),
    )
  }

/** As Nest's documentation shows it. */
const cacheManager =
  (where: Where): Subject =>
  async ({ redisUrl }) => {
    const packages: NestPackages = {
      common: await importedPeer('@nestjs/common'),
      core: await importedPeer('@nestjs/core'),
      platform: await importedPeer('@nestjs/platform-fastify'),
    }
    const { CacheInterceptor, CacheModule } = (await importedPeer('@nestjs/cache-manager')) as {
      CacheInterceptor: never
      CacheModule: { register(options: object): object }
    }
    const { createKeyv } = (await importedPeer('@keyv/redis')) as { createKeyv: (url: string) => object }
    const ttl = TTL_SECONDS * 1000
    const cache = CacheModule.register(where === 'memory' ? { ttl } : { ttl, stores: [createKeyv(redisUrl)] })
    const providers = [{ provide: packages.core.APP_INTERCEPTOR, useClass: CacheInterceptor }]
    return onNest(packages, { imports: [cache], providers }, () => {})
  }

const PEERS = [
  ['Express', 'apicache', 'apicache', ['memory hit', 'redis hit', 'redis miss']],
  ['Express', 'routeCache', 'route-cache', ['memory hit']],
  ['Nest', 'cacheManager', '@nestjs/cache-manager', ['memory hit', 'redis hit', 'redis miss']],
  ['Hono', 'ocache', 'ocache on h3', ['memory hit', 'redis hit', 'redis miss']],
] as const

const ROWS: readonly PeerRow[] = PEERS.flatMap(([framework, name, called, kinds]) =>
  kinds.map((one): PeerRow => {
    const [where, kind] = one.split(' ') as [Where, PeerRow['kind']]
    const store = where === 'redis' ? 'Redis' : 'memory'
    const over = name === 'cacheManager' && where === 'redis' ? `${called} with @keyv/redis` : called
    const what = `${framework}: ${kind} ${kind === 'hit' ? 'from' : 'on'} ${store}, against ${over}`
    return { id: 'B19', what, kind, ours: `redwell${framework} ${where}`, peer: `${name} ${where}` }
  }),
)

const both = (name: string, subject: (where: Where) => Subject): Record<string, Subject> => ({
  [`${name} memory`]: subject('memory'),
  [`${name} redis`]: subject('redis'),
})

export default {
  id: 'B19',
  subjects: {
    ...both('redwellExpress', redwellExpress),
    ...both('redwellNest', redwellNest),
    ...both('redwellHono', redwellHono),
    ...both('apicache', apicache),
    ...both('cacheManager', cacheManager),
    ...both('ocache', ocache),
    'routeCache memory': routeCache,
  },
  async run(bench: Bench) {
    installPeers()
    const outcomes: Outcome[] = []
    for (const row of ROWS) outcomes.push(await againstPeer(bench, row))
    return outcomes
  },
} satisfies Row
