import {
  type DynamicModule,
  type FactoryProvider,
  type InjectionToken,
  Logger as NestLogger,
  Module,
  type ModuleMetadata,
  type OnApplicationShutdown,
  type OptionalFactoryDependency,
  type Provider,
  type Type,
} from '@nestjs/common'
import { APP_GUARD, APP_INTERCEPTOR, DiscoveryModule, Reflector } from '@nestjs/core'
import { createRedis, Redis, type RedisOptions } from '../../create-redis.js'
import { CacheBackend } from '../../data/backend.js'
import { UsageError } from '../../errors.js'
import type { Logger } from '../../logger.js'
import { defaultLimit } from '../limiting.js'
import { getRedisToken, type HttpRequest } from './decorators.js'
import { RedwellHealthIndicator } from './health.js'
import { DeclaredLimit } from '../../limit/route-limit.js'
import { RedwellInterceptor } from './interceptor.js'
import { APPLICATION_LIMIT, type NestRateLimit, RateLimitGuard, RateLimitInterceptor } from './rate-limit.js'

/**
 * Redis for NestJS: the connection follows the application, routes are cached by `@Cached`, `@CachePut` and
 * `@CacheEvict`, `@InjectRedis()` and `CacheBackend` are injected anywhere.
 *
 * @example
 * @Module({ imports: [RedwellModule.forRoot({ url: 'redis://localhost:6379' })] })
 * export class AppModule {}
 */
// oxlint-disable-next-line typescript/no-extraneous-class -- Nest names its modules by classes
export class RedwellModule {
  static forRoot(options: RedwellModuleOptions & RedwellModuleExtras = {}): DynamicModule {
    const { global, name, ...rest } = options
    return moduleOf({ global, name }, { provide: optionsToken(name), useValue: rest })
  }

  /** For options that other providers know. */
  static forRootAsync(options: RedwellModuleAsyncOptions): DynamicModule {
    const module = moduleOf(options, ...optionsProviders(options))
    return { ...module, imports: [...(module.imports ?? []), ...(options.imports ?? [])] }
  }
}

Module({})(RedwellModule)

/** What is closed with the application: a handle that was given, or put in a test's place, is not ours to close. */
const made = new WeakSet<Redis>()

function optionsToken(name: string | undefined): string {
  return name === undefined ? 'redwell:options' : `redwell:options:${name}`
}

function moduleOf({ global = true, name }: RedwellModuleExtras, ...options: Provider[]): DynamicModule {
  const redis: FactoryProvider = { provide: getRedisToken(name), useFactory: open, inject: [optionsToken(name)] }
  const life: FactoryProvider = {
    provide: name === undefined ? 'redwell:life' : `redwell:life:${name}`,
    useFactory: (handle: Redis) => new Life(handle),
    inject: [getRedisToken(name)],
  }
  if (name !== undefined) {
    return { module: RedwellModule, global, providers: [...options, redis, life], exports: [getRedisToken(name)] }
  }
  return {
    module: RedwellModule,
    global,
    imports: [DiscoveryModule],
    providers: [
      ...options,
      redis,
      life,
      { provide: CacheBackend, useFactory: ({ cache }: Redis) => cache, inject: [Redis] },
      RedwellHealthIndicator,
      RedwellInterceptor,
      Reflector,
      { provide: APPLICATION_LIMIT, useFactory: applicationLimit, inject: [optionsToken(name), Redis] },
      { provide: APP_GUARD, useClass: RateLimitGuard },
      // Interceptors run in this order: a refused request does not reach the cache.
      { provide: APP_INTERCEPTOR, useClass: RateLimitInterceptor },
      { provide: APP_INTERCEPTOR, useExisting: RedwellInterceptor },
    ],
    exports: [Redis, CacheBackend, RedwellHealthIndicator],
  }
}

/** The limit of the options, or that of the settings. */
function applicationLimit(
  { rateLimit }: RedwellModuleOptions,
  { settings }: Redis,
): DeclaredLimit<HttpRequest> | undefined {
  const input = rateLimit ?? defaultLimit(settings)
  return input && new DeclaredLimit<HttpRequest>('rateLimit of RedwellModule', input)
}

async function open({
  redis: given,
  connect = false,
  rateLimit: _,
  ...settings
}: RedwellModuleOptions): Promise<Redis> {
  const redis = given ?? createRedis({ logger: nestLogger(), ...settings })
  if (given === undefined) made.add(redis)
  if (connect) await redis.connect()
  return redis
}

function nestLogger(): Logger {
  const logger = new NestLogger('Redwell')
  return {
    info: (message) => logger.log(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
  }
}

function optionsProviders(options: RedwellModuleAsyncOptions): Provider[] {
  const { useFactory, useClass, useExisting, inject = [], name } = options
  const provide = optionsToken(name)
  const ways = [useFactory, useClass, useExisting].filter((way) => way !== undefined)
  if (ways.length !== 1) {
    throw new UsageError('RedwellModule.forRootAsync needs one of `useFactory`, `useClass` and `useExisting`.')
  }
  if (useFactory !== undefined) return [{ provide, useFactory, inject } as FactoryProvider]
  const create = (factory: RedwellOptionsFactory) => factory.createRedwellOptions()
  if (useExisting !== undefined) return [{ provide, useFactory: create, inject: [useExisting] }]
  const factory = useClass as Type<RedwellOptionsFactory>
  return [factory, { provide, useFactory: create, inject: [factory] }]
}

/** Ends the connection when the server has ended. */
class Life implements OnApplicationShutdown {
  readonly #redis: Redis

  constructor(redis: Redis) {
    this.#redis = redis
  }

  async onApplicationShutdown(): Promise<void> {
    await (made.has(this.#redis) ? this.#redis.close() : this.#redis.cache.settled())
  }
}

/** Options of the module: the settings of `createRedis`, or a handle that exists already. */
export interface RedwellModuleOptions extends RedisOptions {
  /** Use this handle; you remain responsible for closing it. */
  readonly redis?: Redis | undefined
  /** Wait for Redis at start, and fail where it does not answer. Default false: the application starts without it. */
  readonly connect?: boolean | undefined
  /** Limits every request to a handler, unless `@SkipRateLimit()` is on it: rates, or options of `@RateLimit`. */
  readonly rateLimit?: NestRateLimit | undefined
}

/** What is decided where the module is imported, whatever the options turn out to be. */
export interface RedwellModuleExtras {
  /** Whether all modules see the providers without importing this one. Default true. */
  readonly global?: boolean | undefined
  /** A further Redis beside the one that routes are cached on, to be injected by `@InjectRedis(name)`. */
  readonly name?: string | undefined
}

/** Makes options; for `useClass` and `useExisting`. */
export interface RedwellOptionsFactory {
  createRedwellOptions(): RedwellModuleOptions | Promise<RedwellModuleOptions>
}

/** Options that other providers know. Exactly one of `useFactory`, `useClass` and `useExisting`. */
export interface RedwellModuleAsyncOptions extends RedwellModuleExtras, Pick<ModuleMetadata, 'imports'> {
  readonly useFactory?: (...args: never[]) => RedwellModuleOptions | Promise<RedwellModuleOptions>
  /** What `useFactory` is called with. */
  readonly inject?: (InjectionToken | OptionalFactoryDependency)[]
  readonly useClass?: Type<RedwellOptionsFactory>
  readonly useExisting?: InjectionToken<RedwellOptionsFactory>
}
