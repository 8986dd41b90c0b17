/** Read-only all the way down, as a shared value is. */
export type Frozen<T> = T extends readonly unknown[]
  ? { readonly [Index in keyof T]: Frozen<T[Index]> }
  : T extends Date | Uint8Array | ReadonlyMap<unknown, unknown> | ReadonlySet<unknown> | ((...args: never) => unknown)
    ? T
    : T extends object
      ? { readonly [Name in keyof T]: Frozen<T[Name]> }
      : T

/** Nobody can change it: text, number, boolean, null. */
export function isPrimitive(value: unknown): boolean {
  return value === null || typeof value !== 'object'
}

/**
 * Freezes plain objects and lists all the way down. Where there is anything the language cannot freeze (a Date, Map,
 * Set or typed array keeps its setters), nothing is frozen and false is given: such a value is not fit for sharing.
 */
export function deepFreeze(value: unknown): boolean {
  const found = new Set<object>()
  if (!collect(value, found)) return false
  for (const object of found) Object.freeze(object)
  return true
}

function collect(value: unknown, found: Set<object>): boolean {
  if (isPrimitive(value)) return true
  const object = value as object
  if (found.has(object)) return true
  if (Array.isArray(object)) {
    found.add(object)
    return object.every((item) => collect(item, found))
  }
  const prototype: unknown = Object.getPrototypeOf(object)
  if (prototype !== Object.prototype && prototype !== null) return false
  found.add(object)
  for (const name in object) if (!collect((object as Record<string, unknown>)[name], found)) return false
  return true
}
