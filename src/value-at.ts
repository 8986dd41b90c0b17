/** Returns the value of a key, creating it on first use. */
export function valueAt<K, V>(
  map: { get(key: K): V | undefined; set(key: K, value: V): unknown },
  key: K,
  make: () => V,
): V {
  let value = map.get(key)
  if (value === undefined) map.set(key, (value = make()))
  return value
}
