/** Longer texts are not worth keeping: clients choose them, and they seldom come twice. */
const KEY_MAX = 256
/** Enough for the spellings that real clients and routes have; bounds what hostile ones can make us keep. */
const ENTRIES_MAX = 256

/** A pure function of a text that remembers the texts it has seen lately. The results must be immutable. */
export function memoise<T>(parse: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    const found = known.get(text)
    if (found !== undefined) return found
    const parsed = parse(text)
    if (text.length > KEY_MAX) return parsed
    if (known.size >= ENTRIES_MAX) known.clear()
    known.set(text, parsed)
    return parsed
  }
}
