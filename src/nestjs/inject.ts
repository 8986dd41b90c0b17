import { Inject } from '@nestjs/common'
import { Redis } from '../redis.js'

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
