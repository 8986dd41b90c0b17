import { createRequire } from 'node:module'
import type * as RedisClient from '@redis/client'

type Driver = typeof RedisClient

let loaded: Driver | undefined

/**
 * The Redis driver, loaded by the first connection. It takes several times as long to load as all of redwell; an
 * application on the embedded store, a test or a build never needs it.
 */
export function driver(): Driver {
  loaded ??= createRequire(import.meta.url)('@redis/client') as Driver
  return loaded
}
