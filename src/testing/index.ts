import { Memory, type MemoryOptions, MemoryStore } from '../store/memory-store.js'
import type { Store } from '../store/store.js'

export { assertCached, assertCacheOutcome, assertNotCached, assertStale, cacheMatchers } from './assertions.js'
export type { CacheMatchers, CacheOutcome, Readable, ResponseLike } from './assertions.js'
export { chaos } from './chaos.js'
export type { ChaosStore, Verb } from './chaos.js'
export { testClock } from './clock.js'
export type { TestClock } from './clock.js'
export type { MemoryOptions } from '../store/memory-store.js'
export type { Store } from '../store/store.js'

/**
 * Embedded stores for the `store` option: one for each prefix, all in one memory, so that two applications of a test
 * that are given the same one share their entries as two processes share a Redis.
 *
 * @example
 * const store = memoryStores()
 * await app.register(redwell, { store, now: clock.now })
 */
export function memoryStores(options: MemoryOptions = {}): (prefix: string) => Store {
  const memory = new Memory(options)
  return (prefix) => new MemoryStore(memory, prefix)
}
