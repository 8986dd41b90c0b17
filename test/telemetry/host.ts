import type { CacheEvictOptions, CacheOptions, CachePutOptions, Redis, RedisOptions } from '../../src/index.js'

/** A framework's adapter on a real server: what telemetry has to be the same on. */
export interface Host {
  readonly name: string
  start(spec: { readonly redis: RedisOptions; readonly routes: readonly Route[] }): Promise<Hosted>
}

export interface Hosted {
  readonly port: number
  readonly redis: Redis
  close(): Promise<void>
}

export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly path: string
  readonly cache?: CacheOptions<Call>
  readonly cachePut?: CachePutOptions<Call>
  readonly cacheEvict?: CacheEvictOptions<Call>
  readonly handler: (call: Call) => unknown
}

export interface Call {
  readonly params: Readonly<Record<string, string>>
  header(name: string): string | undefined
}
