import { type CacheEvents, subscribe } from '../telemetry/events.js'
import type { Telemetry } from '../telemetry/telemetry.js'
import type { ReportedEvent } from './types.js'

/** Events of each kind between two reports: as many as somebody can look at. */
const SAMPLE_MAX = 20

const KEY_SHOWN_MAX = 200

/** The last events of one handle, kept while an operator looks. */
export class EventSample {
  #stops: (() => void)[] = []
  #events = { lookup: [] as ReportedEvent[], refusal: [] as ReportedEvent[], eviction: [] as ReportedEvent[] }

  constructor(
    private readonly telemetry: Telemetry,
    private readonly now: () => number,
  ) {}

  start(): void {
    if (this.#stops.length > 0) return
    this.#stops = [
      this.#on('redwell:lookup', ({ outcome, reason, key, durationMs }) => ({
        ...{ kind: 'lookup', outcome, reason, ms: durationMs },
        key: key?.slice(0, KEY_SHOWN_MAX),
      })),
      this.#on('redwell:refusal', ({ reason }) => ({ kind: 'refusal', outcome: 'refused', reason })),
      this.#on('redwell:eviction', ({ keys, groups, mode, confirmed, durationMs }) => ({
        ...{ kind: 'eviction', outcome: confirmed ? 'evicted' : 'unconfirmed', ms: durationMs },
        reason: `${mode === 'soft' ? 'softly ' : ''}${[...keys, ...groups.map((group) => `group ${group}`)].join(', ').slice(0, KEY_SHOWN_MAX)}`,
      })),
    ]
  }

  stop(): void {
    for (const stop of this.#stops) stop()
    this.#stops = []
    this.take()
  }

  /** The events since the last call, oldest first. */
  take(): readonly ReportedEvent[] {
    const { lookup, refusal, eviction } = this.#events
    this.#events = { lookup: [], refusal: [], eviction: [] }
    return [...lookup, ...refusal, ...eviction].toSorted((one, other) => one.at - other.at)
  }

  /** The channels are those of the whole process; events of other handles are left out. */
  #on<Name extends 'redwell:lookup' | 'redwell:refusal' | 'redwell:eviction'>(
    channel: Name,
    describe: (event: CacheEvents[Name]) => Omit<ReportedEvent, 'at' | 'origin'>,
  ): () => void {
    return subscribe(channel, (event) => {
      if (!this.telemetry.owns(event.origin)) return
      const described = describe(event)
      const sample = this.#events[described.kind]
      if (sample.length >= SAMPLE_MAX) sample.shift()
      sample.push({ ...described, at: this.now(), origin: event.origin.name })
    })
  }
}
