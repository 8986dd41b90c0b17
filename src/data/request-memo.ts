import type { Changes } from '../cache/cache-scope.js'

interface Remembered {
  readonly at: number
  readonly answer: Promise<unknown>
}

/**
 * Answers remembered for the lifetime of an object, such as a request. Answers that this process has changed or
 * invalidated since are asked for again; changes by other processes show with the next object.
 */
export class RequestMemo {
  readonly #changes: Changes
  readonly #answers = new WeakMap<object, Map<string, Remembered>>()

  constructor(changes: Changes) {
    this.#changes = changes
  }

  /** `question` distinguishes what is asked about one key. */
  answer<T>(owner: object, question: string, key: string, ask: () => Promise<T>): Promise<unknown> {
    let answers = this.#answers.get(owner)
    if (answers === undefined) this.#answers.set(owner, (answers = new Map<string, Remembered>()))
    const id = `${question} ${key}`
    const known = answers.get(id)
    if (known !== undefined && !this.#changes.since(known.at, key)) return known.answer
    const remembered: Remembered = { at: this.#changes.now, answer: ask() }
    answers.set(id, remembered)
    remembered.answer.catch(() => {
      if (answers.get(id) === remembered) answers.delete(id)
    })
    return remembered.answer
  }
}
