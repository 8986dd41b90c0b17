import type { EntryRef } from '../cache/lookup.js'
import {
  entryGroups,
  namespaceGroup,
  type Key,
  keyProblem,
  valueKeyHead,
  valueKeyUnder,
  valuePattern,
} from '../cache/key.js'
import { ValueError } from '../errors.js'

/** Keys whose reference is remembered; above it all are forgotten. */
const REFS_MAX = 2000

/** Longer keys are not remembered: they would take most of the memory. */
const REMEMBERED_LENGTH_MAX = 128

const KEY_SHOWN_MAX = 100

/** Where the values of one namespace are stored, and how messages name them. */
export class ValueRefs {
  readonly #head: string
  /** Groups of values that name none. */
  readonly #groups: readonly string[]
  /** Encoding a key costs more than the rest of a hit from memory. */
  readonly #refs = new Map<string, EntryRef>()

  /** `namespace` is empty for the values of the cache itself. */
  constructor(
    readonly namespace: string,
    version?: number | string,
  ) {
    this.#head = valueKeyHead(namespace, version)
    this.#groups = namespace === '' ? entryGroups([]) : [...entryGroups([]), namespaceGroup(namespace)]
  }

  ref(key: Key, groups: readonly string[]): EntryRef {
    if (typeof key === 'string' && groups.length === 0) return this.#refs.get(key) ?? this.#remember(key)
    const encoded = this.key(key)
    return { key: encoded, path: encoded, groups: this.groups(groups), slot: undefined }
  }

  key(key: Key): string {
    if (typeof key === 'string') return (this.#refs.get(key) ?? this.#remember(key)).key
    const problem = keyProblem(key)
    if (problem !== undefined) throw new ValueError(`The value of ${this.describe(key)}: ${problem}.`)
    return valueKeyUnder(this.#head, key)
  }

  /** What an entry in these groups carries, encoded. */
  groups(names: readonly string[]): readonly string[] {
    if (names.length === 0) return this.#groups
    return [...entryGroups(names), ...this.#groups.slice(1)]
  }

  /** A glob pattern of Redis over the keys of the namespace. */
  pattern(pattern: string): string {
    return valuePattern(this.#head, pattern)
  }

  /** The name of a key in messages. */
  describe(key: unknown): string {
    return `key ${keyText(key)} in ${this.namespace === '' ? 'the cache' : `namespace '${this.namespace}'`}`
  }

  #remember(key: string): EntryRef {
    const encoded = valueKeyUnder(this.#head, key)
    const ref: EntryRef = { key: encoded, path: encoded, groups: this.#groups, slot: undefined }
    if (this.#refs.size >= REFS_MAX) this.#refs.clear()
    if (key.length <= REMEMBERED_LENGTH_MAX) this.#refs.set(key, ref)
    return ref
  }
}

function keyText(key: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(key, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part))
  } catch {
    // A key that contains itself is an invalid one.
  }
  return (text ?? typeof key).slice(0, KEY_SHOWN_MAX)
}
