import type { Evicted } from '../cache/cache-scope.js'
import type { Changes } from '../cache/changes.js'
import { type Key, type KeyPart, NO_PARTS } from '../cache/key.js'
import { OptionsError } from '../errors.js'
import type { Namespace, NamespaceOptions } from './namespace.js'

/** How the results of a function are kept. */
export type MemoizeOptions<Args extends readonly unknown[]> = Omit<
  NamespaceOptions<Args>,
  'key' | 'group' | 'shared'
> & {
  /** Name of the namespace: the same for the same function in every process and version of the application. */
  readonly name: string
  /** Groups of a result: fixed, or a function of the arguments. */
  readonly group?: string | readonly string[] | ((...args: Args) => string | readonly string[]) | undefined
} & KeyOption<Args>

/** Arguments that are key parts are the key by themselves; others need a function that names them. */
type KeyOption<Args extends readonly unknown[]> = Args extends readonly (KeyPart | undefined)[]
  ? { readonly key?: ((...args: Args) => Key) | undefined }
  : { readonly key: (...args: Args) => Key }

/** A function whose results are cached. */
export interface Memoized<Args extends readonly unknown[], R> {
  (...args: Args): Promise<R>
  /** Forgets the result for these arguments, in every process. */
  delete(...args: Args): Promise<Evicted>
  /** Forgets all results. */
  clear(): Promise<Evicted>
  /** The results themselves. */
  readonly cache: Namespace<Args, R>
}

/** Opens the namespace that the results live in. */
type OpenNamespace<Args, R> = (name: string, options: NamespaceOptions<Args>) => Namespace<Args, R>

export function memoize<Args extends readonly unknown[], R>(
  open: OpenNamespace<Args, R>,
  fn: (...args: Args) => R | Promise<R>,
  policy: MemoizeOptions<Args>,
): Memoized<Args, R> {
  if (typeof fn !== 'function') throw new OptionsError('arguments of memoize', ['the first must be a function'])
  const { name, key, group, ...options } = policy as MemoizeOptions<Args> & { key?: (...args: Args) => Key }
  const cache = open(name, {
    ...options,
    key: (args) => (key === undefined ? keyOf(args) : key(...args)),
    group: typeof group === 'function' ? (args) => group(...args) : group,
  })
  const memoized = (...args: Args): Promise<R> => cache.getOrSet(args, () => fn(...args))
  return Object.assign(memoized, {
    delete: (...args: Args) => cache.delete(args),
    clear: () => cache.clear(),
    cache,
  })
}

/** Optional arguments that were left out count as not given. */
function keyOf(args: readonly unknown[]): Key {
  const given = args.findLastIndex((arg) => arg !== undefined) + 1
  return given === 0 ? NO_PARTS : (args.slice(0, given) as readonly KeyPart[])
}

interface Remembered {
  readonly at: number
  readonly answer: Promise<unknown>
}

/**
 * Answers remembered beside an object, such as a request, for as long as it lives. Whatever this process changes or
 * invalidates is asked for again; what other processes do shows with the next object.
 */
export class RequestMemo {
  readonly #changes: Changes
  readonly #answers = new WeakMap<object, Map<string, Remembered>>()

  constructor(changes: Changes) {
    this.#changes = changes
  }

  /** `name` tells one question about a key from another. */
  answer<T>(owner: object, name: string, key: string, ask: () => Promise<T>): Promise<T> {
    const answers = this.#answersOf(owner)
    const id = `${name} ${key}`
    const known = answers.get(id)
    if (known !== undefined && !this.#changes.since(known.at, key)) return known.answer as Promise<T>
    const at = this.#changes.now
    const answer = ask()
    answers.set(id, { at, answer })
    answer.catch(() => {
      if (answers.get(id)?.answer === answer) answers.delete(id)
    })
    return answer
  }

  #answersOf(owner: object): Map<string, Remembered> {
    const known = this.#answers.get(owner)
    if (known !== undefined) return known
    const fresh = new Map<string, Remembered>()
    this.#answers.set(owner, fresh)
    return fresh
  }
}
