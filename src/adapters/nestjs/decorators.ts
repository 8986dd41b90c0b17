import { createParamDecorator, type ExecutionContext, Inject, SetMetadata } from '@nestjs/common'
import { Redis } from '../../create-redis.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../../route/options.js'
import { DeclaredCache, DeclaredWrite } from '../declarations.js'
import { addGroups } from '../node/handlers.js'
import { type HttpRequest, rawResponse } from './platform.js'

/** Marks a method of a controller, or all methods of one. */
export type CacheDecorator = MethodDecorator & ClassDecorator

export const CACHED = 'redwell:cached'

export const CACHE_PUT = 'redwell:cache-put'

export const CACHE_EVICT = 'redwell:cache-evict'

/** What the decorators leave behind. */
export interface Declarations {
  readonly [CACHED]: DeclaredCache<HttpRequest>
  readonly [CACHE_PUT]: DeclaredWrite<HttpRequest>
  readonly [CACHE_EVICT]: DeclaredWrite<HttpRequest>
}

/**
 * Answers a GET from the cache, after all guards have run. On a controller: all its GETs that do not say otherwise.
 * Functions of the options are given the platform's request. Throws OptionsError with all that is wrong.
 *
 * @example
 * @Get(':id')
 * @Cached({ ttl: '5m', group: 'products' })
 * find(@Param('id') id: string) { … }
 */
export function Cached<Req = HttpRequest>(options: CacheOptions<Req>): CacheDecorator {
  return SetMetadata(CACHED, new DeclaredCache({ where: 'options of @Cached', options }))
}

/** Stores what a PUT or POST answers as the entry of its path's GET. */
export function CachePut<Req = HttpRequest>(options: CachePutOptions<Req>): MethodDecorator {
  return SetMetadata(CACHE_PUT, new DeclaredWrite({ where: 'options of @CachePut', options }, undefined))
}

/**
 * Invalidates entries when a write has succeeded, before its response is released.
 *
 * @example
 * @Delete(':id')
 * @CacheEvict({ key: 'path', group: 'lists' })
 * remove(@Param('id') id: string) { … }
 */
export function CacheEvict<Req = HttpRequest>(options: CacheEvictOptions<Req>): MethodDecorator {
  return SetMetadata(CACHE_EVICT, new DeclaredWrite(undefined, { where: 'options of @CacheEvict', options }))
}

/** Adds groups to the entry that this response becomes, for those that only the handler knows. */
export type AddGroups = (...names: string[]) => void

/**
 * A parameter that adds groups to the entry of this response.
 *
 * @example
 * find(@Param('id') id: string, @CacheGroups() addGroups: AddGroups) { addGroups(`owner:${row.owner}`) }
 */
export const CacheGroups: () => ParameterDecorator = createParamDecorator(
  (_data: unknown, context: ExecutionContext): AddGroups => {
    const res = rawResponse(context.switchToHttp().getResponse())
    return (...names) => addGroups(res, names)
  },
)

/** The token of a Redis: of the only one, or of one that was given a name. */
export function getRedisToken(name?: string): typeof Redis | string {
  return name === undefined ? Redis : `redwell:redis:${name}`
}

/**
 * Injects the application's Redis; `redis.client` is the node-redis client. With a name, the one of
 * `RedwellModule.forRoot({ name })`.
 *
 * @example
 * constructor(@InjectRedis() private readonly redis: Redis) {}
 */
export function InjectRedis(name?: string): ParameterDecorator & PropertyDecorator {
  return Inject(getRedisToken(name))
}
