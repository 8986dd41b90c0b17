import type { Changes } from './changes.js'

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
