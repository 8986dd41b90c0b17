import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from '../create-redis.js'
import { UnavailableError } from '../errors.js'
import { LiveView } from '../operate/live.js'
import { type RateOf, Rates } from '../operate/rates.js'
import { countOf, type Totals, totalsOf } from '../operate/totals.js'
import type { ProcessReport, ReportedEvent } from '../report/types.js'
import { type Cell, oneLine, paint, percent, print, table } from './output.js'
import { EXIT } from './exit.js'

export interface WatchOptions {
  readonly json?: boolean
  /** Ends after so many seconds. Default: with Ctrl-C. */
  readonly seconds?: number
}

/** Events that fit below the table of a terminal. */
const EVENTS_SHOWN = 12

/**
 * `redwell watch`: on a terminal a table of rates and the last events, rewritten with each report; elsewhere a line for
 * each event; with `--json` a document a line for each report.
 */
export async function watch(redis: Redis, { json, seconds = Infinity }: WatchOptions): Promise<number> {
  const stopped = new AbortController()
  const stop = (): void => stopped.abort()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  const endAt = performance.now() + seconds * 1000
  const view = await LiveView.open(redis)
  const moments = new Moments()
  let [isAway, isKnown] = [false, false]
  try {
    while (!stopped.signal.aborted && performance.now() < endAt) {
      await pause(view.pauseMs, undefined, { signal: stopped.signal }).catch(() => {})
      const reports = await view.read().catch(onlyIfAway)
      if (isAway !== (reports === undefined)) {
        isAway = reports === undefined
        process.stderr.write(isAway ? 'Redis does not answer; waiting for it.\n' : 'Redis answers again.\n')
      }
      if (reports?.length === 0 && !isKnown)
        process.stderr.write('No process has reported. Is the application running with this prefix?\n')
      isKnown ||= reports !== undefined
      if (reports !== undefined) show(reports, moments.next(reports), json)
    }
  } finally {
    view.close()
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
  return EXIT.ok
}

/** Redis may become unavailable and return while the command runs. */
function onlyIfAway(error: unknown): undefined {
  if (!(error instanceof UnavailableError)) throw error
}

/** Lookups of a second, and the events that were not shown yet. */
interface Moment {
  readonly totals: Totals
  readonly perSecond: RateOf
  readonly events: readonly (ReportedEvent & { readonly process: string })[]
}

class Moments {
  readonly #rates = new Rates()
  readonly #seen = new Map<string, number>()

  next(reports: readonly ProcessReport[]): Moment {
    return { totals: totalsOf(reports), perSecond: this.#rates.next(reports), events: this.#news(reports) }
  }

  #news(reports: readonly ProcessReport[]): Moment['events'] {
    const news = reports
      .filter(({ id, at }) => (this.#seen.get(id) ?? 0) < at)
      .flatMap(({ application, pid, events }) =>
        events.map((event) => ({ ...event, process: `${application}:${pid}` })),
      )
    for (const { id, at } of reports) this.#seen.set(id, at)
    return news.toSorted((one, other) => one.at - other.at)
  }
}

function show(reports: readonly ProcessReport[], moment: Moment, json: boolean | undefined): void {
  if (json === true) {
    const { totals, perSecond, events } = moment
    const origins = totals.origins.map((origin) => ({ ...origin, perSecond: perSecond(origin) }))
    print(
      JSON.stringify({ processes: reports.map(({ origins: _, events: __, ...report }) => report), origins, events }),
    )
  } else if (process.stdout.isTTY) repaint(reports, moment)
  else for (const event of moment.events) print(eventLine(event).map(oneLine).join('\t'))
}

const last: Moment['events'][number][] = []

function repaint(reports: readonly ProcessReport[], { totals, perSecond, events }: Moment): void {
  last.push(...events)
  last.splice(0, Math.max(0, last.length - EVENTS_SHOWN))
  const rows = [...totals.origins.slice(0, 15), totals.all].map((origin): Cell[] => {
    const { name, hitRatio, misses, bypasses, latency } = origin
    return [
      name === '' ? { text: 'all', style: 'bold' } : name,
      perSecond(origin)?.toFixed(1) ?? '-',
      percent(hitRatio),
      ...[countOf(misses), countOf(bypasses)].map(String),
      latency === null ? '-' : `${latency.p99Ms.toFixed(2)} ms`,
    ]
  })
  const head = `${reports.length} ${reports.length === 1 ? 'process' : 'processes'}, ${new Date().toLocaleTimeString()}  (Ctrl-C ends)`
  const lines = [
    paint('dim', head),
    '',
    table(['ROUTE OR NAMESPACE', '/s', 'FROM CACHE', 'MISSES', 'BYPASSES', 'p99'], rows),
    '',
    last.length === 0 ? '' : table(['TIME', 'PROCESS', 'OUTCOME', 'REASON', 'ROUTE', 'KEY', ''], last.map(eventLine)),
  ]
  process.stdout.write('\u001b[H\u001b[J')
  print(lines.join('\n'))
}

function eventLine({ at, process: where, outcome, reason, origin, key = '', ms }: Moment['events'][number]): string[] {
  const time = new Date(at).toISOString().slice(11, 23)
  return [time, where, outcome, reason, origin, key, ms === undefined ? '' : `${ms.toFixed(2)} ms`]
}
