import { Inject, Injectable } from '@nestjs/common'
import { Redis } from '../../create-redis.js'

export interface HealthOptions {
  /**
   * What Redis being away means for the application. `down`: it is not healthy. `degraded`: it serves without its cache,
   * which is what routes do. Default `down`.
   */
  readonly away?: 'down' | 'degraded' | undefined
}

type Health<Key extends string> = Record<
  Key,
  { readonly status: 'up' | 'down' | 'degraded'; readonly redis: string; readonly latencyMs?: number }
>

/**
 * Tells Terminus how Redis is; and whoever else asks, because it needs nothing of Terminus.
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

  /** One PING, limited by the deadline of a command. Never rejects. */
  async check<Key extends string = 'redis'>(
    key: Key = 'redis' as Key,
    { away = 'down' }: HealthOptions = {},
  ): Promise<Health<Key>> {
    const health = await this.#ping(away)
    return { [key]: { ...health, redis: this.#redis.status } } as Health<Key>
  }

  async #ping(away: 'down' | 'degraded'): Promise<{ status: 'up' | 'down' | 'degraded'; latencyMs?: number }> {
    if (this.#redis.status === 'closed') return { status: away }
    try {
      return { status: 'up', latencyMs: await this.#redis.ping() }
    } catch {
      return { status: away }
    }
  }
}

// Written out because decorators of parameters need a compiler option that this package's users may do without.
Injectable()(RedwellHealthIndicator)

Inject(Redis)(RedwellHealthIndicator, undefined, 0)
