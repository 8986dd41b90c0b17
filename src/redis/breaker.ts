/**
 * - `closed`: commands are sent
 * - `open`: none is sent; one probe at a time asks whether the server answers again
 * - `half-open`: a probe was answered in time; commands are sent, and the first of them decides
 */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** Deadlines missed in a row after which commands are not tried any more. One may be chance; three are not. */
const MISSES_TO_OPEN = 3

/** After a trial that failed the next probe waits, so that a server that answers only probes is not tried all the time. */
const PAUSE_FIRST_MS = 100

const PAUSE_MAX_MS = 1000

/** Stops sending to a server that does not answer in time, and finds out by itself when it does again. */
export class Breaker {
  readonly #probe: () => Promise<boolean>
  readonly #onChange: (state: BreakerState, previous: BreakerState) => void
  #state: BreakerState = 'closed'
  #misses = 0
  #failedTrials = 0
  #probing = false
  #stopped = false
  #pause: NodeJS.Timeout | undefined

  /** `probe` settles when the server answered, and says whether that was in time; rejects when no answer will come. */
  constructor(probe: () => Promise<boolean>, onChange: (state: BreakerState, previous: BreakerState) => void) {
    this.#probe = probe
    this.#onChange = onChange
  }

  get state(): BreakerState {
    return this.#state
  }

  /** A command was answered within its deadline. A late answer is not one: the request has gone on without it. */
  answered(): void {
    this.#misses = 0
    if (this.#state !== 'half-open') return
    this.#failedTrials = 0
    this.#become('closed')
  }

  /** A command missed its deadline, or was lost with its connection. */
  missed(): void {
    if (this.#state === 'open') return
    this.#misses += 1
    if (this.#state === 'closed' && this.#misses < MISSES_TO_OPEN) return
    if (this.#state === 'half-open') this.#failedTrials += 1
    this.#become('open')
    this.#probeLater()
  }

  /** The connection is a new one: its handshake was answered, which is as good as a probe. */
  reconnected(): void {
    if (this.#state === 'open') this.#become('half-open')
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#pause)
  }

  #become(state: BreakerState): void {
    const previous = this.#state
    this.#state = state
    this.#misses = 0
    clearTimeout(this.#pause)
    this.#onChange(state, previous)
  }

  #probeLater(): void {
    if (this.#failedTrials === 0) return this.#ask()
    clearTimeout(this.#pause)
    const pauseMs = Math.min(PAUSE_FIRST_MS * 2 ** (this.#failedTrials - 1), PAUSE_MAX_MS)
    this.#pause = setTimeout(() => this.#ask(), pauseMs).unref()
  }

  #ask(): void {
    if (this.#state !== 'open' || this.#probing || this.#stopped) return
    this.#probing = true
    this.#probe().then(
      (inTime) => this.#told(inTime),
      () => this.#notTold(),
    )
  }

  #told(inTime: boolean): void {
    this.#probing = false
    if (this.#state !== 'open' || this.#stopped) return
    // A late answer took longer than a deadline, so asking again at once cannot become a busy loop.
    if (inTime) this.#become('half-open')
    else this.#ask()
  }

  #notTold(): void {
    this.#probing = false
    if (this.#state !== 'open' || this.#stopped) return
    this.#failedTrials += 1
    this.#probeLater()
  }
}
