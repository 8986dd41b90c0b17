/**
 * A promise that knows whether the handler has taken it. A failure that it did not ask for must neither end the process nor
 * be lost, so the response reports it; one that it did ask for is the handler's to answer.
 */
export class Taken extends Promise<void> {
  #isTaken = false

  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  static of(work: Promise<void>): Taken {
    const taken = new Taken((resolve) => resolve(work))
    void taken.forResponse().catch(() => {})
    return taken
  }

  get isTaken(): boolean {
    return this.#isTaken
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

  /** Resolves with the work. Rejects where only the response can say that it has failed. */
  forResponse(): Promise<void> {
    return super.then(undefined, (error: unknown) => {
      if (!this.#isTaken) throw error
    })
  }
}
