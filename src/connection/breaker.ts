/** Deadlines missed in a row after which commands are not tried any more. One may be chance; three are not. */
const MISSES_TO_OPEN = 3

/**
 * Stops sending to a server that does not answer. While open, one probe at a time is under way; the first answer of
 * any command closes it again.
 */
export class Breaker {
  readonly #probe: () => Promise<unknown>
  readonly #onChange: (open: boolean) => void
  #misses = 0
  #open = false
  #probing = false

  /** `probe` settles when the server answers, however late, or the connection is lost. */
  constructor(probe: () => Promise<unknown>, onChange: (open: boolean) => void) {
    this.#probe = probe
    this.#onChange = onChange
  }

  get open(): boolean {
    return this.#open
  }

  answered(): void {
    this.#misses = 0
    if (!this.#open) return
    this.#open = false
    this.#onChange(false)
  }

  missed(): void {
    this.#misses += 1
    if (this.#open || this.#misses < MISSES_TO_OPEN) return
    this.#open = true
    this.#onChange(true)
    this.probe()
  }

  /** Asks whether the server answers again, unless that question is already under way. */
  probe(): void {
    if (!this.#open || this.#probing) return
    this.#probing = true
    this.#probe().then(
      () => {
        this.#probing = false
        this.answered()
      },
      () => {
        this.#probing = false
      },
    )
  }
}
