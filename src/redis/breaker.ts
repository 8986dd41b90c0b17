/**
 * - `closed`: commands are sent
 * - `open`: none is sent; one probe at a time finds out whether the server answers again
 * - `half-open`: a probe was answered in time; commands are sent, and the first of them decides
 */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** Failures in a row after which no more commands are sent. One may be chance; three are not. */
const FAILURES_TO_OPEN = 3

/** Pause before the next probe after a failed trial, for a server that answers probes only. Doubles with each. */
const PAUSE_FIRST_MS = 100

const PAUSE_MAX_MS = 1000

/** Circuit breaker of one server: stops sending when it does not answer in time, and probes until it does. */
export class Breaker {
  readonly #probe: () => Promise<boolean>
  readonly #onChange: (state: BreakerState, previous: BreakerState) => void
  #state: BreakerState = 'closed'
  #failures = 0
  #failedTrials = 0
  #probing = false
  #stopped = false
  #pause: NodeJS.Timeout | undefined

  /** `probe` resolves when the server has answered, with whether that was in time; rejects when no answer will come. */
  constructor(probe: () => Promise<boolean>, onChange: (state: BreakerState, previous: BreakerState) => void) {
    this.#probe = probe
    this.#onChange = onChange
  }

  get state(): BreakerState {
    return this.#state
  }

  /** A command was answered within its deadline. A late answer is no success: the request has gone on without it. */
  onSuccess(): void {
    this.#failures = 0
    if (this.#state !== 'half-open') return
    this.#failedTrials = 0
    this.#become('closed')
  }

  /** A command missed its deadline, was lost with its connection, or the server cannot serve now. */
  onTimeout(): void {
    if (this.#state === 'open') return
    this.#failures += 1
    if (this.#state === 'closed' && this.#failures < FAILURES_TO_OPEN) return
    if (this.#state === 'half-open') this.#failedTrials += 1
    this.#become('open')
    this.#scheduleProbe()
  }

  /** A new connection has completed its handshake, which is as good as a probe. */
  onConnected(): void {
    if (this.#state === 'open') this.#become('half-open')
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#pause)
  }

  #become(state: BreakerState): void {
    const previous = this.#state
    this.#state = state
    this.#failures = 0
    clearTimeout(this.#pause)
    this.#onChange(state, previous)
  }

  #scheduleProbe(): void {
    if (this.#failedTrials === 0) return this.#startProbe()
    clearTimeout(this.#pause)
    const pauseMs = Math.min(PAUSE_FIRST_MS * 2 ** (this.#failedTrials - 1), PAUSE_MAX_MS)
    this.#pause = setTimeout(() => this.#startProbe(), pauseMs).unref()
  }

  #startProbe(): void {
    if (this.#state !== 'open' || this.#probing || this.#stopped) return
    this.#probing = true
    this.#probe().then(
      (inTime) => this.#onProbeResult(inTime),
      () => this.#onProbeError(),
    )
  }

  #onProbeResult(inTime: boolean): void {
    this.#probing = false
    if (this.#state !== 'open' || this.#stopped) return
    // A late answer took longer than a deadline, so probing again at once cannot become a busy loop.
    if (inTime) this.#become('half-open')
    else this.#startProbe()
  }

  #onProbeError(): void {
    this.#probing = false
    if (this.#state !== 'open' || this.#stopped) return
    this.#failedTrials += 1
    this.#scheduleProbe()
  }
}
