import { Catch, createParamDecorator, type ExecutionContext, Inject, SetMetadata, UseFilters } from '@nestjs/common'
import { ModuleRef } from '@nestjs/core'
import { Redis } from '../../create-redis.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../../route/options.js'
import { OptionsError, UsageError } from '../../errors.js'
import { DeclaredCache, DeclaredWrite } from '../declarations.js'
import { Exchange } from '../exchange.js'
import type { PlatformRequest } from '../node/request.js'

/** The common properties of Express and Fastify requests. Use the platform's type for more. */
export interface HttpRequest extends PlatformRequest {
  /** Method, in capitals. */
  readonly method: string
  /** Path and query as sent. */
  readonly url: string
  /** Address of the client, as the platform reports it. */
  readonly ip?: string | undefined
  /** Parameters of the path. */
  readonly params: unknown
  /** Parameters of the query. */
  readonly query: unknown
  /** Parsed body, if there is one. */
  readonly body: unknown
}

/** The message of `node:http` behind a request or response: Express extends it, Fastify has it. */
export function rawOf(of: object): object {
  return 'raw' in of && of.raw instanceof Object ? of.raw : of
}

/** Marks a method of a controller, or all methods of one. */
export type CacheDecorator = MethodDecorator & ClassDecorator

export const CACHED = 'redwell:cached'

export const CACHE_PUT = 'redwell:cache-put'

export const CACHE_EVICT = 'redwell:cache-evict'

/** Metadata that the decorators set. */
export interface Declarations {
  readonly [CACHED]: DeclaredCache<HttpRequest>
  readonly [CACHE_PUT]: DeclaredWrite<HttpRequest>
  readonly [CACHE_EVICT]: DeclaredWrite<HttpRequest>
}

/**
 * A decorator with options, which are checked where it stands: errors name the class and the method. `word` has its `@`.
 * `given`: what it was called with; without a call it gets what it decorates.
 */
export function declaring(
  word: string,
  key: string,
  sample: string,
  given: unknown,
  declare: (where: string) => unknown,
): CacheDecorator {
  const isTarget =
    typeof given === 'function' || (Object(given) === given && Object.hasOwn(given as object, 'constructor'))
  if (isTarget) throw new OptionsError(`${word} of ${nameOf(given as object)}`, [`it is not called; write ${sample}`])
  return (target: object, method?: string | symbol, descriptor?: PropertyDescriptor): void => {
    const where = `${word} of ${method === undefined ? nameOf(target) : `${nameOf(target)}.${String(method)}`}`
    if (Reflect.hasOwnMetadata(key, (descriptor?.value as object | undefined) ?? target))
      throw new OptionsError(where, [
        `it stands there twice, and only one would count: ${sample} takes everything at once`,
      ])
    const decorators = [SetMetadata(key, declare(where)), UseFilters(presenceOf(where))]
    for (const decorator of decorators)
      if (method === undefined || descriptor === undefined) (decorator as ClassDecorator)(target as never)
      else decorator(target, method, descriptor)
  }
}

/** The class of a decorated class or of a prototype. */
function nameOf(target: object): string {
  const { name } = typeof target === 'function' ? target : target.constructor
  return name === '' ? 'a class' : name
}

/** Nothing throws it. */
class Nothing extends Error {}

/**
 * A filter that filters nothing. Nest creates it when the application starts, also where the module was forgotten, which
 * nothing else of ours would notice.
 */
function presenceOf(where: string) {
  class Presence {
    readonly #modules: ModuleRef

    constructor(modules: ModuleRef) {
      this.#modules = modules
    }

    onModuleInit(): void {
      try {
        this.#modules.get(Redis, { strict: false })
      } catch {
        throw new UsageError(
          `${where} has no effect, because the module is missing: import \`RedwellModule.forRoot({ … })\` in the root module (with \`url: 'memory:'\` in tests).`,
        )
      }
    }

    catch(error: unknown): never {
      throw error
    }
  }
  Catch(Nothing)(Presence)
  Inject(ModuleRef)(Presence, undefined, 0)
  return Presence
}

/**
 * Answers a GET from the cache, after all guards have run. On a controller it applies to all its GETs without `@Cached`.
 * Functions in the options receive the platform's request. Throws OptionsError with every problem of the options.
 *
 * @example
 * @Get(':id')
 * @Cached({ ttl: '5m', group: 'products' })
 * find(@Param('id') id: string) { … }
 */
export function Cached<Req = HttpRequest>(options: CacheOptions<Req>): CacheDecorator {
  const declare = (where: string) => new DeclaredCache({ where, options })
  return declaring('@Cached', CACHED, "@Cached({ ttl: '5m' })", options, declare)
}

/** Stores the response of a PUT, POST or PATCH as the entry of the path's GET. Throws OptionsError with every problem of the options. */
export function CachePut<Req = HttpRequest>(options: CachePutOptions<Req>): MethodDecorator {
  const declare = (where: string) => new DeclaredWrite({ where, options }, undefined)
  return declaring('@CachePut', CACHE_PUT, "@CachePut({ ttl: '5m' })", options, declare)
}

/**
 * Invalidates entries after a successful write, before its response is sent. Throws OptionsError with every problem of the
 * options.
 *
 * @example
 * @Delete(':id')
 * @CacheEvict({ key: 'path', group: 'lists' })
 * remove(@Param('id') id: string) { … }
 */
export function CacheEvict<Req = HttpRequest>(options: CacheEvictOptions<Req>): MethodDecorator {
  const declare = (where: string) => new DeclaredWrite(undefined, { where, options })
  return declaring('@CacheEvict', CACHE_EVICT, "@CacheEvict({ key: 'path' })", options, declare)
}

/** Adds groups to the entry of this response, if only the handler knows them. */
export type AddGroups = (...names: string[]) => void

/**
 * Parameter decorator: a function that adds groups to the entry of this response.
 *
 * @example
 * find(@Param('id') id: string, @CacheGroups() addGroups: AddGroups) { addGroups(`owner:${row.owner}`) }
 */
export const CacheGroups: () => ParameterDecorator = createParamDecorator(
  (_data: unknown, context: ExecutionContext): AddGroups => {
    const response = rawOf(context.switchToHttp().getResponse())
    return (...names) => Exchange.of(response).addGroups(names)
  },
)

/** Returns the injection token of the application's Redis, or of another one by its name. */
export function getRedisToken(name?: string): typeof Redis | string {
  return name === undefined ? Redis : `redwell:redis:${name}`
}

/**
 * Injects the application's Redis; `redis.client` is the node-redis client. With a name, that of
 * `RedwellModule.forRoot({ name })`.
 *
 * @example
 * constructor(@InjectRedis() private readonly redis: Redis) {}
 */
export function InjectRedis(name?: string): ParameterDecorator & PropertyDecorator {
  return Inject(getRedisToken(name))
}
