import type { InjectionToken, ModuleMetadata, OptionalFactoryDependency, Type } from '@nestjs/common'
import type { Redis, RedisOptions } from '../redis.js'

/** Options of the module: the settings of `createRedis`, or a handle that exists already. */
export interface RedwellModuleOptions extends RedisOptions {
  /** Use this handle, and leave its life to whoever made it. */
  readonly redis?: Redis | undefined
  /** Wait for Redis at start, and fail where it does not answer. Default false: the application starts without it. */
  readonly connect?: boolean | undefined
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
