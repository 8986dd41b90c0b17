import { Controller, Get, Inject, Module, Scope } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { GraphQLModule, Query, Resolver } from '@nestjs/graphql'
import { MercuriusDriver, type MercuriusDriverConfig } from '@nestjs/mercurius'
import { ClientProxyFactory, MessagePattern, type MicroserviceOptions, Transport } from '@nestjs/microservices'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import { lastValueFrom } from 'rxjs'
import { expect, onTestFinished, test } from 'vitest'
import { Cached, RedwellModule } from '../../src/adapters/nestjs/index.js'
import { CacheBackend } from '../../src/index.js'
import { silentLogger } from '../support/logger.js'
import { freePort } from '../support/redis-server.js'

// What runs beside HTTP in an application of Nest. One without HTTP is in module.test.ts.

const redwell = () =>
  RedwellModule.forRoot({ url: 'memory:', logger: silentLogger, rateLimit: '1000/minute', sessions: {} })

let loads = 0

/** Its prices are values of the data cache, its pages entries of routes. */
@Controller({ path: 'prices' })
class Prices {
  constructor(@Inject(CacheBackend) private readonly cache: CacheBackend) {}

  @MessagePattern('price')
  price(): Promise<number> {
    return this.cache.getOrSet('price', () => (loads += 1), { ttl: 60 })
  }

  @Get()
  @Cached({ ttl: 60 })
  page(): { loads: number } {
    return { loads: (loads += 1) }
  }
}

@Module({ imports: [redwell()], controllers: [Prices] })
class PricesModule {}

async function ask(port: number): Promise<number> {
  const client = ClientProxyFactory.create({ transport: Transport.TCP, options: { host: '127.0.0.1', port } })
  onTestFinished(() => void client.close())
  return lastValueFrom(client.send<number>('price', {}))
}

test('a microservice starts with the module, and its handlers have the data cache', async () => {
  const port = await freePort()
  const options: MicroserviceOptions = { transport: Transport.TCP, options: { host: '127.0.0.1', port } }
  const service = await NestFactory.createMicroservice<MicroserviceOptions>(PricesModule, { ...options, logger: false })
  onTestFinished(() => service.close())
  await service.listen()
  expect(await ask(port)).toBe(await ask(port))
})

test('a hybrid application caches its routes, and answers messages beside them', async () => {
  const port = await freePort()
  const app = await NestFactory.create<NestFastifyApplication>(PricesModule, new FastifyAdapter(), { logger: false })
  onTestFinished(() => app.close())
  app.connectMicroservice<MicroserviceOptions>(
    { transport: Transport.TCP, options: { host: '127.0.0.1', port } },
    { inheritAppConfig: true },
  )
  await app.startAllMicroservices()
  await app.listen(0, '127.0.0.1')
  expect(await ask(port)).toBe(await ask(port))
  const pages = [await app.inject('/prices'), await app.inject('/prices')]
  expect(pages.map(({ headers }) => headers['x-redis-cache'])).toEqual(['MISS', 'HIT'])
})

test('a controller of request scope is cached, and made for misses only', async () => {
  let made = 0
  @Controller({ path: 'scoped', scope: Scope.REQUEST })
  class Scoped {
    constructor() {
      made += 1
    }

    @Get()
    @Cached({ ttl: 60 })
    page(): { made: number } {
      return { made }
    }
  }
  @Module({ imports: [redwell()], controllers: [Scoped] })
  class ScopedModule {}
  const app = await NestFactory.create<NestFastifyApplication>(ScopedModule, new FastifyAdapter(), { logger: false })
  onTestFinished(() => app.close())
  await app.init()
  const pages = [await app.inject('/scoped'), await app.inject('/scoped')]
  expect(pages.map(({ headers }) => headers['x-redis-cache'])).toEqual(['MISS', 'HIT'])
  expect(pages[1]?.body).toBe(pages[0]?.body)
})

test('GraphQL next to cached routes is left alone', async () => {
  @Resolver()
  class Hello {
    @Query('hello')
    hello(): string {
      return 'world'
    }
  }
  @Module({
    imports: [
      redwell(),
      GraphQLModule.forRoot<MercuriusDriverConfig>({
        driver: MercuriusDriver,
        typeDefs: 'type Query { hello: String }',
      }),
    ],
    controllers: [Prices],
    providers: [Hello],
  })
  class GraphModule {}
  const app = await NestFactory.create<NestFastifyApplication>(GraphModule, new FastifyAdapter(), { logger: false })
  onTestFinished(() => app.close())
  await app.init()
  for (let turn = 0; turn < 2; turn += 1) {
    const answer = await app.inject({ method: 'POST', url: '/graphql', payload: { query: '{ hello }' } })
    expect(answer.json()).toEqual({ data: { hello: 'world' } })
    expect(answer.headers['x-redis-cache']).toBeUndefined()
  }
  const pages = [await app.inject('/prices'), await app.inject('/prices')]
  expect(pages.map(({ headers }) => headers['x-redis-cache'])).toEqual(['MISS', 'HIT'])
})
