import { subscribe } from '../diagnostics/channels.js'
import type {
  BreakerEvent,
  CacheEvents,
  ConnectionEvent,
  EvictionEvent,
  LookupEvent,
  Origin,
  RetryEvent,
  StoreEvent,
} from '../diagnostics/events.js'
import type { Instruments } from './instruments.js'
import { ATTRIBUTE } from './names.js'
import { OriginMetrics } from './origin-metrics.js'
import type { Warnings } from './warn.js'

const { reason: REASON, result: RESULT, write: WRITE } = ATTRIBUTE

/** What an event adds to the metrics. Each value of a label comes from a declaration or a type, never from a request. */
export class Metrics {
  readonly #instruments: Instruments
  /** By identity: an origin is the same object in all its events. */
  readonly #origins = new Map<Origin, OriginMetrics>()
  readonly #stop: (() => void)[] = []

  constructor(instruments: Instruments, warnings: Warnings) {
    this.#instruments = instruments
    const listen = <Name extends keyof CacheEvents>(name: Name, take: (event: CacheEvents[Name]) => void): void => {
      const guarded = (event: CacheEvents[Name]): void => {
        try {
          take(event)
        } catch (error) {
          warnings.once('redwell: OpenTelemetry metrics failed; requests go on without them.', error)
        }
      }
      this.#stop.push(subscribe(name, guarded))
    }
    listen('redwell:lookup', (event) => this.#lookup(event))
    listen('redwell:store', (event) => this.#store(event))
    listen('redwell:eviction', (event) => this.#evict(event))
    listen('redwell:refusal', ({ origin, reason }) => this.#of(origin).add('refusals', REASON, reason))
    listen('redwell:wait', ({ origin, holder }) => this.#of(origin).add('waits', ATTRIBUTE.holder, holder))
    listen('redwell:refresh', ({ origin, reason }) => this.#of(origin).add('refreshes', REASON, reason))
    listen('redwell:fence', ({ origin, by }) => this.#of(origin).add('fenced', WRITE, snake(by)))
    listen('redwell:stand-in', ({ origin }) => this.#of(origin).add('stale', REASON, 'error'))
    listen('redwell:breaker', (event) => this.#breaker(event))
    listen('redwell:connection', (event) => this.#connection(event))
    listen('redwell:retry', (event) => this.#retry(event))
  }

  /** Counts no more. What was counted can still be collected: applications flush their SDK after they have closed Redis. */
  stop(): void {
    for (const stop of this.#stop.splice(0)) stop()
  }

  /** Tells nothing any more, because another one does. */
  close(): void {
    this.stop()
    this.#instruments.close()
  }

  #lookup({ origin, outcome, reason, bytes, durationMs }: LookupEvent): void {
    const own = this.#of(origin)
    const { requests, latency } = own.lookup(outcome, reason)
    const histogram = this.#instruments.latency
    requests.value += 1
    if (outcome === 'bypass') return
    if (outcome === 'stale') own.add('stale', REASON, reason)
    if (reason === 'collapsed') own.count('collapsed', {})
    if (bytes > 0) own.add('bytes', ATTRIBUTE.direction, 'served', bytes)
    histogram?.record(durationMs / 1000, latency)
  }

  #store({ origin, by, result, bytes, durationMs }: StoreEvent): void {
    const own = this.#of(origin)
    own.count('writes', { [WRITE]: snake(by), [RESULT]: result })
    if (result === 'stored' && bytes > 0) own.add('bytes', ATTRIBUTE.direction, 'stored', bytes)
    const latency = own.latency(by === 'write-through' ? 'put' : 'set', RESULT, result)
    this.#instruments.latency?.record(durationMs / 1000, latency)
  }

  #evict({ origin, operation, keys, groups, confirmed, durationMs }: EvictionEvent): void {
    const own = this.#of(origin)
    const result = confirmed ? 'confirmed' : 'unconfirmed'
    if (keys.length > 0) own.count('evictions', { [ATTRIBUTE.target]: 'key', [RESULT]: result }, keys.length)
    if (groups.length > 0) own.count('evictions', { [ATTRIBUTE.target]: 'group', [RESULT]: result }, groups.length)
    // A write-through's time is told of with its store.
    if (operation === 'put') return
    this.#instruments.latency?.record(durationMs / 1000, own.latency('evict', RESULT, result))
  }

  #breaker({ server, state }: BreakerEvent): void {
    const at = { [ATTRIBUTE.server]: server }
    this.#instruments.series('breakerChanges').point({ ...at, [ATTRIBUTE.state]: state }).value += 1
    this.#instruments.series('breakerOpen').point(at).value = state === 'open' ? 1 : 0
  }

  #connection({ server, status }: ConnectionEvent): void {
    const at = { [ATTRIBUTE.server]: server }
    const series = this.#instruments.series('available')
    if (status === 'closed') series.delete(at)
    else series.point(at).value = status === 'ready' ? 1 : 0
  }

  #retry({ prefix, result, pending }: RetryEvent): void {
    const under = { [ATTRIBUTE.prefix]: prefix }
    this.#instruments.series('retries').point({ ...under, [RESULT]: result }).value += 1
    this.#instruments.series('unconfirmed').point(under).value = pending
  }

  #of(origin: Origin): OriginMetrics {
    let own = this.#origins.get(origin)
    if (own === undefined) this.#origins.set(origin, (own = new OriginMetrics(origin, this.#instruments)))
    return own
  }
}

/** As the labels of the model are written: `write_through`. */
function snake(name: string): string {
  return name.replace('-', '_')
}
