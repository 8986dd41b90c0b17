/**
 * Stores, a clock, faults and assertions for tests of applications.
 *
 * @module redwell/testing
 */
export { assertCached, assertCacheOutcome, assertNotCached, assertStale, cacheMatchers } from './assertions.js'
export type { CacheMatchers, CacheOutcome, Readable, ResponseLike } from './assertions.js'
export { chaos, memoryStores, testClock } from './doubles.js'
export type { ChaosStore, TestClock } from './doubles.js'
export type { MemoryOptions } from '../store/memory-store.js'
export type { Store, Verb } from '../store/store.js'
