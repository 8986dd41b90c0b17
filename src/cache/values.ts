import { ValueError } from '../errors.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import { entryGroups, namespaceGroup } from './group.js'
import { type Key, keyProblem, valueKey } from './key.js'
import type { ResolvedValueOptions } from './options.js'
import type { Place } from './place.js'

/** How values become bytes. */
export interface Coder {
  /** Stands in the entry; an entry of another coder is a miss. */
  readonly name: string
  encode(value: unknown): Buffer
  decode(bytes: Buffer): unknown
}

export const jsonCoder: Coder = {
  name: 'json',
  encode(value) {
    const text: unknown = JSON.stringify(value)
    if (typeof text !== 'string') throw new TypeError(`JSON has no form for ${typeof value}`)
    return Buffer.from(text)
  },
  decode: (bytes) => JSON.parse(bytes.toString()) as unknown,
}

/** Places and entries of the values of one namespace. */
export class Values {
  readonly #namespace: string
  readonly #coder: Coder
  readonly #groups: readonly string[]

  constructor(namespace: string, coder: Coder) {
    this.#namespace = namespace
    this.#coder = coder
    this.#groups = namespace === '' ? [] : [namespaceGroup(namespace)]
  }

  key(key: Key): string {
    const problem = keyProblem(key)
    if (problem !== undefined) throw new ValueError(`${this.#where(key)}: ${problem}.`)
    return valueKey(this.#namespace, key)
  }

  place(key: Key, groups: readonly string[]): Place {
    return { key: this.key(key), groups: this.#entryGroups(groups) }
  }

  /** The entry for a value, without its stamp. Throws ValueError where the coder has no form for it. */
  entry(key: Key, value: unknown, options: ResolvedValueOptions, now: number): Entry {
    const freshUntil = now + options.ttlMs * (1 - options.jitter * Math.random())
    return {
      kind: 'value',
      flags: 0,
      status: 0,
      storedAt: now,
      stamp: 0,
      freshUntil,
      staleUntil: freshUntil + options.staleWhileRevalidateMs,
      errorUntil: freshUntil + options.staleIfErrorMs,
      initialAgeMs: 0,
      family: '',
      groups: this.#entryGroups(options.groups),
      headers: ['coder', this.#coder.name],
      body: this.#encode(key, value),
    }
  }

  /** The value in an entry; undefined where it is not one of this coder's, or does not decode. */
  decode(entry: Entry): { readonly value: unknown } | undefined {
    if (entry.kind !== 'value' || entry.headers[1] !== this.#coder.name) return undefined
    try {
      return { value: this.#coder.decode(entry.body) }
    } catch {
      return undefined
    }
  }

  #entryGroups(groups: readonly string[]): readonly string[] {
    return this.#groups.length === 0 ? entryGroups(groups) : [...entryGroups(groups), ...this.#groups]
  }

  #encode(key: Key, value: unknown): Buffer {
    try {
      return this.#coder.encode(value)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new ValueError(`${this.#where(key)}: the ${this.#coder.name} coder cannot encode it: ${reason}.`, {
        cause: error,
      })
    }
  }

  #where(key: Key): string {
    const name = this.#namespace === '' ? 'cache' : `namespace '${this.#namespace}'`
    return `The value of ${JSON.stringify(key) ?? typeof key} in ${name}`
  }
}

/** How long the store has to keep an entry. */
export function lifeMs(entry: Entry, now: number): number {
  return usefulUntil(entry) - now
}
