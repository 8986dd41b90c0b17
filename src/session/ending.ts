/**
 * The promise of `end()`. Whether the handler has taken it is known: a failure that it did not ask for must neither end the
 * process nor be lost, so the response reports it.
 */
export class Ending extends Promise<void> {
  #isTaken = false

  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  static of(work: Promise<void>): Ending {
    const ending = new Ending((resolve) => resolve(work))
    void ending.forResponse().catch(() => {})
    return ending
  }

  // `await` calls it, because this is not Promise itself.
  // oxlint-disable-next-line unicorn/no-thenable -- it is a promise
  override then<T = void, U = never>(
    done?: ((value: void) => T | PromiseLike<T>) | null,
    failed?: ((reason: unknown) => U | PromiseLike<U>) | null,
  ): Promise<T | U> {
    this.#isTaken = true
    return super.then(done, failed)
  }

  /** Resolves when the session has ended. Rejects where only the response can say that it has not. */
  forResponse(): Promise<void> {
    return super.then(undefined, (error: unknown) => {
      if (!this.#isTaken) throw error
    })
  }
}
