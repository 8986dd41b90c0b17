import { isPromise } from '../maybe-promise.js'
import type { TrackingListener } from '../redis/tracking.js'
import { publishNear } from '../telemetry/recorder.js'
import { type Keyspace, pathGroup } from './keyspace.js'
import type { NearCache } from './near-cache.js'
import { type ReadResult, type Store, storeWith } from './store.js'

/** What a near cache does about changes of the keys of groups. */
export function trackingOf(near: NearCache, keys: Keyspace): TrackingListener {
  return {
    changed: (names) => near.changed(names.flatMap((name) => keys.groupAt(name) ?? [])),
    changedAll: () => near.clear(),
    trust(trusted) {
      near.trust(trusted)
      publishNear(keys.prefix, trusted)
    },
  }
}

/**
 * A near cache in front of a store. What this process changes is changed here before the call ends, whether the store
 * confirms it or not, so the process that writes never reads what it has replaced.
 */
export function nearStore(store: Store, near: NearCache): Store {
  /** A change that is not confirmed may have happened all the same. */
  const changing = async <T>(groups: readonly string[], change: Promise<T>): Promise<T> => {
    try {
      return await change
    } finally {
      near.changed(groups)
    }
  }
  return storeWith(store, {
    local: near,
    read(keys, groups, budget) {
      const since = near.begin()
      const kept = (result: ReadResult): ReadResult => {
        near.keep(since, keys, groups, result)
        return result
      }
      const reading = store.read(keys, groups, budget)
      if (!isPromise(reading)) return kept(reading)
      return reading.then(kept, (error: unknown) => {
        near.end()
        throw error
      })
    },
    publish: (key, publication, budget) => changing([pathGroup(key)], store.publish(key, publication, budget)),
    commitWrite(commit) {
      const paths = [commit.path, commit.key, ...commit.paths]
      return changing([...commit.groups, ...paths.map(pathGroup)], store.commitWrite(commit))
    },
    put: (key, entry, ttlMs) => changing([pathGroup(key)], store.put(key, entry, ttlMs)),
    set: (key, entry, ttlMs) => changing([pathGroup(key)], store.set(key, entry, ttlMs)),
    evict: (paths, mode) => changing(paths.map(pathGroup), store.evict(paths, mode)),
    invalidate: (groups, mode) => changing(groups, store.invalidate(groups, mode)),
  })
}
