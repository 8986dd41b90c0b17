/**
 * Module, decorators and providers for NestJS.
 *
 * @module redwell/nestjs
 */
import {
  type DynamicModule,
  type FactoryProvider,
  Inject,
  Injectable,
  type InjectionToken,
  Logger as NestLogger,
  type MiddlewareConsumer,
  Module,
  type ModuleMetadata,
  type NestModule,
  Optional,
  type OptionalFactoryDependency,
  type Provider,
  type Type,
} from '@nestjs/common'
import { APP_GUARD, APP_INTERCEPTOR, DiscoveryModule, Reflector } from '@nestjs/core'
import { Redis } from '../../create-redis.js'
import { CacheBackend } from '../../data/backend.js'
import { describeValue, OptionsError, UsageError } from '../../errors.js'
import { DeclaredLimit } from '../../limit/route-limit.js'
import type { Logger } from '../../logger.js'
import type { MaybePromise } from '../../maybe-promise.js'
import type { Principal } from '../../route/options.js'
import { Sessions } from '../../session/sessions.js'
import { type AdapterOptions, type AdapterRedis, checkedOptions, checkFlags, openRedis } from '../declarations.js'
import { defaultLimit } from '../limiting.js'
import { getRedisToken, type HttpRequest } from './decorators.js'
import { PRINCIPAL, RedwellInterceptor } from './interceptor.js'
import { type NestSessionOptions, RequireSessionGuard, SessionInstaller } from './session.js'
import { APPLICATION_LIMIT, type NestRateLimit, RateLimitGuard, Limiter, LimitInstaller } from './rate-limit.js'

export { CacheGroups, Cached, CacheEvict, CachePut, getRedisToken, InjectRedis } from './decorators.js'
export type { AddGroups, CacheDecorator, HttpRequest } from './decorators.js'
export { RateLimit, SkipRateLimit } from './rate-limit.js'
export type { NestRateLimit } from './rate-limit.js'
export { RequireSession } from './session.js'
export type { NestSessionOptions } from './session.js'
/** Injection token of the application's sessions, which lists and ends them. */
export { Sessions as SessionStore } from '../../session/sessions.js'

/**
 * Nest module: connects to Redis and closes with the application, caches routes by `@Cached`, `@CachePut` and
 * `@CacheEvict`, and provides `@InjectRedis()` and `CacheBackend` for injection.
 *
 * @example
 * @Module({ imports: [RedwellModule.forRoot({ url: 'redis://localhost:6379' })] })
 * export class AppModule {}
 */
export class RedwellModule implements NestModule {
  readonly #sessions: SessionInstaller | undefined

  /** Called by Nest. */
  constructor(sessions: SessionInstaller | undefined) {
    this.#sessions = sessions
  }

  /** Called by Nest. */
  configure(consumer: MiddlewareConsumer): void {
    this.#sessions?.install(consumer)
  }

  /** Configures the module with options. Throws OptionsError or SettingsError with every problem. */
  static forRoot(options: RedwellModuleOptions & RedwellModuleExtras = {}): DynamicModule {
    const { global, name, ...rest } = checkedOptions(options, ['global', 'name', ...OWN_OPTIONS])
    return moduleOf({ global, name }, { provide: optionsToken(name), useValue: rest })
  }

  /** Configures the module with options from other providers. */
  static forRootAsync(options: RedwellModuleAsyncOptions): DynamicModule {
    const module = moduleOf(options, ...optionsProviders(options))
    return { ...module, imports: [...(module.imports ?? []), ...(options.imports ?? [])] }
  }
}

Module({})(RedwellModule)

// A named Redis has no sessions.
Optional()(RedwellModule, undefined, 0)

Inject(SessionInstaller)(RedwellModule, undefined, 0)

/** What is closed with the application: not a handle that a test has substituted. */
const opened = new WeakMap<Redis, AdapterRedis>()

function optionsToken(name: string | undefined): string {
  return name === undefined ? 'redwell:options' : `redwell:options:${name}`
}

function moduleOf({ global = true, name }: RedwellModuleExtras, ...options: Provider[]): DynamicModule {
  checkFlags({ global })
  if (name !== undefined && (typeof name !== 'string' || name === ''))
    throw new OptionsError('options of RedwellModule', [`name: ${describeValue(name)} must be a non-empty text`])
  const redis: FactoryProvider = { provide: getRedisToken(name), useFactory: open, inject: [optionsToken(name)] }
  const life: FactoryProvider = {
    provide: name === undefined ? 'redwell:life' : `redwell:life:${name}`,
    useFactory: (handle: Redis) => ({
      onApplicationShutdown: () => opened.get(handle)?.close() ?? handle.cache.settled(),
    }),
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
      { provide: Sessions, useFactory: ({ sessions }: Redis) => sessions, inject: [Redis] },
      SessionInstaller,
      RedwellInterceptor,
      Reflector,
      {
        provide: PRINCIPAL,
        useFactory: ({ principal }: RedwellModuleOptions) => ({ principal }),
        inject: [optionsToken(name)],
      },
      { provide: APPLICATION_LIMIT, useFactory: applicationLimit, inject: [optionsToken(name), Redis] },
      Limiter,
      LimitInstaller,
      { provide: APP_GUARD, useClass: RateLimitGuard },
      { provide: APP_GUARD, useClass: RequireSessionGuard },
      { provide: APP_INTERCEPTOR, useExisting: RedwellInterceptor },
    ],
    exports: [Redis, CacheBackend, Sessions, RedwellHealthIndicator],
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

const OWN_OPTIONS = ['connect', 'rateLimit', 'sessions']

async function open(options: RedwellModuleOptions): Promise<Redis> {
  const { connect = false, rateLimit: _, sessions, ...settings } = checkedOptions(options, OWN_OPTIONS)
  checkFlags({ connect })
  const own = openRedis(settings, nestLogger())
  if (sessions !== undefined) own.redis.sessions.configure(sessions)
  opened.set(own.redis, own)
  await (connect ? own.redis.connect() : own.redis.attempted())
  return own.redis
}

function nestLogger(): Logger {
  const logger = new NestLogger('Redwell')
  return Object.assign(logger, { info: (message: string) => logger.log(message) })
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

/** Options of the module: the settings of `createRedis`, or an existing handle. */
export interface RedwellModuleOptions extends Omit<AdapterOptions<HttpRequest>, 'principal' | 'sessions'> {
  /**
   * Returns the principal of a request, as in the other frameworks. Called after all guards. A method, so that its parameter
   * may have the platform's type. Default: none.
   */
  principal?(this: void, request: HttpRequest): MaybePromise<Principal | null | undefined>
  /** Waits for Redis at start, and fails if it does not answer. Default false: the application starts without it. */
  readonly connect?: boolean | undefined
  /**
   * Limits all requests, also to unknown routes, except on handlers with `@SkipRateLimit()`: rates, or options of
   * `@RateLimit`. Default: none.
   */
  readonly rateLimit?: NestRateLimit | undefined
  /** Enables sessions with these options. Default: no sessions, or those of the handle that was passed in. */
  readonly sessions?: NestSessionOptions | undefined
}

/** Options that must be known where the module is imported. */
export interface RedwellModuleExtras {
  /** Whether the providers are available in all modules. Default true. */
  readonly global?: boolean | undefined
  /** Name of an additional Redis, which routes do not use; injected by `@InjectRedis(name)`. Default: none. */
  readonly name?: string | undefined
}

/** Provides options, for `useClass` and `useExisting`. */
export interface RedwellOptionsFactory {
  /** Returns the options; called once at start. */
  createRedwellOptions(): RedwellModuleOptions | Promise<RedwellModuleOptions>
}

/** Options of `forRootAsync`. Exactly one of `useFactory`, `useClass` and `useExisting`. */
export interface RedwellModuleAsyncOptions extends RedwellModuleExtras, Pick<ModuleMetadata, 'imports'> {
  /** Returns the options. Receives the providers of `inject`. */
  readonly useFactory?: (...args: never[]) => RedwellModuleOptions | Promise<RedwellModuleOptions>
  /** Providers that `useFactory` receives. Default: none. */
  readonly inject?: (InjectionToken | OptionalFactoryDependency)[]
  /** Class that provides the options; Nest creates an instance. */
  readonly useClass?: Type<RedwellOptionsFactory>
  /** Existing provider of the options. */
  readonly useExisting?: InjectionToken<RedwellOptionsFactory>
}

/** Options of `RedwellHealthIndicator.check`. */
export interface HealthOptions {
  /**
   * Effect of an unreachable Redis. `down`: the check fails. `degraded`: the check succeeds, because routes work without
   * their cache. Default `down`.
   */
  readonly away?: 'down' | 'degraded' | undefined
}

/** Result of a health check under its key. */
type Health<Key extends string> = Record<
  Key,
  { readonly status: 'up' | 'down' | 'degraded'; readonly redis: string; readonly latencyMs?: number }
>

/**
 * Reports the state of Redis to Terminus or another health check. It does not depend on Terminus.
 *
 * @example
 * @Get('health')
 * @HealthCheck()
 * check() { return this.health.check([() => this.redis.check()]) }
 */
export class RedwellHealthIndicator {
  readonly #redis: Redis

  constructor(redis: Redis) {
    this.#redis = redis
  }

  /** Sends one PING, limited by the command timeout. Never rejects. */
  async check<Key extends string = 'redis'>(
    key: Key = 'redis' as Key,
    { away = 'down' }: HealthOptions = {},
  ): Promise<Health<Key>> {
    const latencyMs = this.#redis.status === 'closed' ? undefined : await this.#redis.ping().catch(() => undefined)
    const health = latencyMs === undefined ? { status: away } : { status: 'up', latencyMs }
    return { [key]: { ...health, redis: this.#redis.status } } as Health<Key>
  }
}

// Called explicitly, because parameter decorators need a compiler option.
Injectable()(RedwellHealthIndicator)

Inject(Redis)(RedwellHealthIndicator, undefined, 0)
