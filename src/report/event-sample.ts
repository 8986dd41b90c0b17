import { type CacheEvents, subscribe } from '../telemetry/events.js'
import type { Telemetry } from '../telemetry/telemetry.js'
import type { ReportedEvent } from './types.js'

/** Events of each kind between two reports: as many as a person can read. */
const SAMPLE_MAX = 20

const KEY_SHOWN_MAX = 200

type Kind = ReportedEvent['kind']

/**
 * The first events of one handle after each report, kept while an operator looks. With enough of one kind it stops to
 * listen for them until the next report, because events without a listener cost requests less.
 */
export class EventSample {
  readonly #stops = new Map<Kind, () => void>()
  readonly #events: Record<Kind, ReportedEvent[]> = { lookup: [], refusal: [], eviction: [] }

  constructor(
    private readonly telemetry: Telemetry,
    private readonly now: () => number,
  ) {}

  /** Listens for kinds of which there is not enough. */
  start(): void {
    this.#on('lookup', 'redwell:lookup', ({ outcome, reason, key, durationMs }) => ({
      ...{ outcome, reason, ms: durationMs },
      key: key?.slice(0, KEY_SHOWN_MAX),
    }))
    this.#on('refusal', 'redwell:refusal', ({ reason }) => ({ outcome: 'refused', reason }))
    this.#on('eviction', 'redwell:eviction', ({ keys, groups, mode, confirmed, durationMs }) => ({
      ...{ outcome: confirmed ? 'evicted' : 'unconfirmed', ms: durationMs },
      reason: `${mode === 'soft' ? 'softly ' : ''}${[...keys, ...groups.map((group) => `group ${group}`)].join(', ').slice(0, KEY_SHOWN_MAX)}`,
    }))
  }

  stop(): void {
    for (const kind of [...this.#stops.keys()]) this.#leave(kind)
    this.#drain()
  }

  /** The events since the last call, oldest first; listens for the next ones. */
  take(): readonly ReportedEvent[] {
    const isListening = this.#stops.size > 0 || this.#isFull
    const events = this.#drain()
    if (isListening) this.start()
    return events
  }

  get #isFull(): boolean {
    return Object.values(this.#events).some((sample) => sample.length >= SAMPLE_MAX)
  }

  #drain(): readonly ReportedEvent[] {
    const events = Object.values(this.#events).flatMap((sample) => sample.splice(0))
    return events.toSorted((one, other) => one.at - other.at)
  }

  #leave(kind: Kind): void {
    this.#stops.get(kind)?.()
    this.#stops.delete(kind)
  }

  /** The channels are those of the whole process; events of other handles are left out. */
  #on<Name extends 'redwell:lookup' | 'redwell:refusal' | 'redwell:eviction'>(
    kind: Kind,
    channel: Name,
    describe: (event: CacheEvents[Name]) => Omit<ReportedEvent, 'at' | 'origin' | 'kind'>,
  ): void {
    const sample = this.#events[kind]
    if (this.#stops.has(kind) || sample.length >= SAMPLE_MAX) return
    const stop = subscribe(channel, (event) => {
      if (sample.length >= SAMPLE_MAX || !this.telemetry.owns(event.origin)) return
      sample.push({ ...describe(event), kind, at: this.now(), origin: event.origin.name })
      // Not within the event: the listener after this one would miss it.
      if (sample.length >= SAMPLE_MAX) queueMicrotask(() => this.#leave(kind))
    })
    this.#stops.set(kind, stop)
  }
}
