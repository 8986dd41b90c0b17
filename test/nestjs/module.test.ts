import { Controller, Get, Inject, Injectable, Module, Param, VersioningType } from '@nestjs/common'
import { NestFactory, RouterModule } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus'
import { Test } from '@nestjs/testing'
import { describe, expect, test } from 'vitest'
import { CacheBackend, createRedis, Redis } from '../../src/index.js'
import {
  Cached,
  CacheEvict,
  CachePut,
  getRedisToken,
  InjectRedis,
  RateLimit,
  RedwellHealthIndicator,
  RedwellModule,
  type RedwellModuleOptions,
  type RedwellOptionsFactory,
  RequireSession,
} from '../../src/adapters/nestjs/index.js'
import { silentLogger } from '../support/logger.js'
import { startRedis } from '../support/redis-server.js'
import { moduleOf, start } from './app.js'

const MEMORY: RedwellModuleOptions = { url: 'memory:', logger: silentLogger }

@Injectable()
class Service {
  readonly redis: Redis
  readonly cache: CacheBackend

  constructor(@InjectRedis() redis: Redis, @Inject(CacheBackend) cache: CacheBackend) {
    this.redis = redis
    this.cache = cache
  }
}

/** A module without imports of its own: what it injects is global. */
@Module({ providers: [Service], exports: [Service] })
class Feature {}

async function compile(...imports: NonNullable<Parameters<typeof Test.createTestingModule>[0]['imports']>) {
  return Test.createTestingModule({ imports }).compile()
}

describe('injection', () => {
  test('Redis and CacheBackend are there in every module', async () => {
    const module = await compile(RedwellModule.forRoot(MEMORY), Feature)
    const service = module.get(Service)
    expect(service.redis).toBeInstanceOf(Redis)
    expect(service.cache).toBe(service.redis.cache)
    expect(module.get(getRedisToken())).toBe(service.redis)
    await module.close()
    expect(service.redis.status).toBe('closed')
  })

  test('global: false keeps them to the modules that import it', async () => {
    await expect(compile(RedwellModule.forRoot({ ...MEMORY, global: false }), Feature)).rejects.toThrow(/resolve/)
    @Module({ imports: [RedwellModule.forRoot({ ...MEMORY, global: false })], providers: [Service] })
    class Own {}
    const module = await compile(Own)
    expect(module.get(Service).redis).toBeInstanceOf(Redis)
    await module.close()
  })

  test('a Redis with a name stands beside the one that routes are cached on', async () => {
    @Injectable()
    class Two {
      readonly one: Redis
      readonly other: Redis

      constructor(@InjectRedis() one: Redis, @InjectRedis('sessions') other: Redis) {
        this.one = one
        this.other = other
      }
    }
    const sessions = RedwellModule.forRoot({ ...MEMORY, name: 'sessions', prefix: 'sessions' })
    @Module({ imports: [RedwellModule.forRoot(MEMORY), sessions], providers: [Two] })
    class Own {}
    const module = await compile(Own)
    const { one, other } = module.get(Two)
    expect([one.settings.prefix, other.settings.prefix]).toEqual(['redwell', 'sessions'])
    await module.close()
    expect([one.status, other.status]).toEqual(['closed', 'closed'])
  })
})

describe('forRootAsync', () => {
  @Injectable()
  class Config implements RedwellOptionsFactory {
    createRedwellOptions(): RedwellModuleOptions {
      return { ...MEMORY, prefix: 'configured' }
    }
  }
  @Module({ providers: [Config], exports: [Config] })
  class ConfigModule {}

  test.each([
    [
      'useFactory',
      {
        imports: [ConfigModule],
        inject: [Config],
        useFactory: async (config: Config) => config.createRedwellOptions(),
      },
    ],
    ['useExisting', { imports: [ConfigModule], useExisting: Config }],
    ['useClass', { useClass: Config }],
  ])('%s', async (_, options) => {
    const module = await compile(RedwellModule.forRootAsync(options))
    expect(module.get(Redis).settings.prefix).toBe('configured')
    await module.close()
  })

  test('one of them is needed, and one is enough', () => {
    expect(() => RedwellModule.forRootAsync({})).toThrow(/one of/)
    expect(() => RedwellModule.forRootAsync({ useClass: Config, useFactory: () => MEMORY })).toThrow(/one of/)
  })

  test('wrong settings are told when the application starts', async () => {
    await expect(compile(RedwellModule.forRoot({ url: 'http://localhost' }))).rejects.toThrow(/redis:\/\//)
  })
})

describe('tests of an application', () => {
  @Controller('x')
  class Plain {
    @Get()
    @Cached({ ttl: 60 })
    get() {
      return 'x'
    }
  }
  @Module({ imports: [RedwellModule.forRoot({ url: 'redis://127.0.0.1:1' })], controllers: [Plain] })
  class AppModule {}

  test('overrideProvider puts another Redis in the place of the real one, which is never made', async () => {
    const own = createRedis({ url: 'memory:' })
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(getRedisToken())
      .useValue(own)
      .compile()
    const app = module.createNestApplication({ logger: false })
    await app.init()
    expect(app.get(CacheBackend)).toBe(own.cache)
    await app.close()
    expect(own.status).toBe('ready')
    await own.close()
  })

  test('a handle that was given stays open', async () => {
    const redis = createRedis({ url: 'memory:' })
    const { app } = await start('express', { imports: [RedwellModule.forRoot({ redis })] })
    expect(app.get(Redis)).toBe(redis)
    await app.close()
    expect(redis.status).toBe('ready')
    await redis.close()
  })
})

describe('mistakes with the module are told when the application starts', () => {
  @Controller('items')
  class Items {
    @Get()
    @Cached({ ttl: 60 })
    find() {
      return 'x'
    }
  }

  test('imported twice', async () => {
    const module = {
      imports: [RedwellModule.forRoot(MEMORY), RedwellModule.forRootAsync({ useFactory: () => MEMORY })],
    }
    await expect(start('express', module)).rejects.toThrow(/imported more than once.*`name`/)
  })

  test('not imported, or with a name only', async () => {
    for (const imports of [[], [RedwellModule.forRoot({ ...MEMORY, name: 'other' })]])
      await expect(start('express', { imports, controllers: [Items] })).rejects.toThrow(
        /@Cached of Items\.find has no effect.*RedwellModule\.forRoot/,
      )
  })
})

describe('decorators tell mistakes where they stand, by class and method', () => {
  const decorate = (decorator: (...at: [object, string, PropertyDescriptor]) => unknown) => () => {
    class Items {
      find() {
        return 'x'
      }
    }
    const descriptor = Object.getOwnPropertyDescriptor(Items.prototype, 'find') as PropertyDescriptor
    decorator(Items.prototype, 'find', descriptor)
  }
  const wrong = { tll: 1 } as never

  test.each<[string, (...options: never[]) => MethodDecorator]>([
    ['@Cached', Cached],
    ['@CachePut', CachePut],
    ['@CacheEvict', CacheEvict],
    ['@RateLimit', RateLimit],
    ['@RequireSession', RequireSession],
  ])('%s', (word, decorator) => {
    expect(decorate(decorator(wrong))).toThrow(new RegExp(`${word} of Items\\.find[^]*tll`))
    expect(decorate(decorator as never)).toThrow(new RegExp(`${word} of Items[^]*not called; write ${word}\\(`))
    expect(() => (decorator as (target: object) => unknown)(function Items() {})).toThrow(/Items[^]*not called/)
  })
})

describe('life', () => {
  test('`connect` fails a start without Redis; without it the application serves', async () => {
    const settings = { url: 'redis://127.0.0.1:1', logger: silentLogger, connectTimeout: '200ms' } as const
    await expect(compile(RedwellModule.forRoot({ ...settings, connect: true }))).rejects.toThrow()
    const { app } = await start('express', moduleOf({}, settings))
    await app.close()
    expect(app.get(Redis).status).toBe('closed')
  })

  test('an application context without HTTP has Redis as well', async () => {
    const context = await NestFactory.createApplicationContext(moduleOf({ imports: [Feature] }), { logger: false })
    expect(context.get(Service).redis.status).toBe('ready')
    await context.close()
    expect(context.get(Service).redis.status).toBe('closed')
  })
})

describe('health', () => {
  @Controller('health')
  class Health {
    readonly #health: HealthCheckService
    readonly #redis: RedwellHealthIndicator

    constructor(
      @Inject(HealthCheckService) health: HealthCheckService,
      @Inject(RedwellHealthIndicator) redis: RedwellHealthIndicator,
    ) {
      this.#health = health
      this.#redis = redis
    }

    @Get()
    @HealthCheck()
    check() {
      return this.#health.check([() => this.#redis.check()])
    }

    @Get('lenient')
    @HealthCheck()
    lenient() {
      return this.#health.check([() => this.#redis.check('cache', { away: 'degraded' })])
    }
  }

  test('Terminus is told how Redis is', async () => {
    const server = await startRedis()
    const module = moduleOf(
      { imports: [TerminusModule.forRoot({ logger: false })], controllers: [Health] },
      { url: server.url, connect: true },
    )
    const { client } = await start('fastify', module)
    const healthy = await client.get('/health')
    expect([healthy.status, JSON.parse(healthy.text)]).toEqual([
      200,
      expect.objectContaining({
        status: 'ok',
        info: { redis: { status: 'up', redis: 'ready', latencyMs: expect.any(Number) as number } },
      }),
    ])
    await server.close()
    await expect.poll(async () => (await client.get('/health')).status).toBe(503)
    const lenient = await client.get('/health/lenient')
    expect([lenient.status, JSON.parse(lenient.text)]).toMatchObject([
      200,
      { status: 'degraded', details: { cache: { status: 'degraded' } } },
    ])
  })
})

test.each(['express', 'fastify'])(
  '%s: a request is explained by its whole path: global prefix, version, path of the module',
  async (platform) => {
    @Controller({ path: 'products', version: ['1', '2'] })
    class Products {
      @Get(':id')
      @Cached({ ttl: '1m', group: (request) => `product:${(request.params as { id: string }).id}` })
      find(@Param('id') id: string) {
        return { id }
      }
    }
    @Controller('health')
    class Health {
      @Get()
      @Cached({ ttl: 1 })
      read() {
        return 'well'
      }
    }
    @Module({ controllers: [Products, Health] })
    class Catalog {}
    @Module({
      imports: [RedwellModule.forRoot(MEMORY), Catalog, RouterModule.register([{ path: 'shop', module: Catalog }])],
    })
    class App {}
    const app =
      platform === 'express'
        ? await NestFactory.create(App, { logger: false })
        : await NestFactory.create(App, new FastifyAdapter(), { logger: false })
    app.setGlobalPrefix('api', { exclude: ['shop/health'] })
    app.enableVersioning({ type: VersioningType.URI })
    await app.listen(0, '127.0.0.1')
    const { cache } = app.get(Redis)
    const origin = await app.getUrl()
    for (const url of ['api/v1/shop/products/7', 'api/v2/shop/products/7', 'shop/health']) {
      const answer = await fetch(new URL(url, origin))
      expect([url, answer.status]).toEqual([url, 200])
      await answer.text()
      await cache.settled()
      expect(await cache.explain({ url: `/${url}` })).toMatchObject({
        route: url.startsWith('api') ? 'GET /api/v1/shop/products/:id' : 'GET /shop/health',
        outcome: 'hit',
        key: expect.stringContaining(url) as string,
      })
    }
    expect(Object.keys(cache.stats().routes)).toEqual(['GET /api/v1/shop/products/:id', 'GET /shop/health'])
    for (const url of ['/products/7', '/shop/products/7', '/api/v3/shop/products/7', '/api/shop/health'])
      await expect(cache.explain({ url })).rejects.toThrow('No cached route matches')
    await app.close()
  },
)
