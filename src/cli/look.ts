import type { Redis } from '../create-redis.js'
import { UsageError } from '../errors.js'
import { diagnose, type Diagnosis, type Level } from '../operate/doctor.js'
import { type EntryDetail, type EntrySummary, listEntries, showBody, showEntry } from '../operate/entries.js'
import { explain, type Explained } from '../operate/explain.js'
import { listGroups } from '../operate/groups.js'
import { LIMIT_DEFAULT, LIMIT_MAX } from '../operate/pages.js'
import { reportsNow } from '../operate/live.js'
import { fixOf, meaningOf } from '../operate/reasons.js'
import { countOf, historyOf, type OriginTotals, totalsOf } from '../operate/totals.js'
import { resolveSettings } from '../redis/resolve-settings.js'
import { HISTORY_MS } from '../report/history.js'
import {
  bytes,
  type Cell,
  duration,
  fields,
  incomplete,
  paint,
  percent,
  print,
  printJson,
  Progress,
  table,
  textOf,
  time,
} from './output.js'
import { EXIT } from './exit.js'
import { type GlobalOptions, settingsOf } from './session.js'

const SIGNS: Readonly<Record<Level, Cell>> = {
  ok: { text: 'ok', style: 'green' },
  warning: { text: 'warning', style: 'yellow' },
  problem: { text: 'PROBLEM', style: 'red' },
}

/** `redwell doctor`: exit code 1 where there is a problem. */
export async function doctor(redis: Redis, options: GlobalOptions): Promise<number> {
  const { json } = options
  const progress = new Progress()
  const diagnosis = await diagnose(redis, {
    settings: resolveSettings(settingsOf(options)),
    onStep: (step) => progress.show(`Looking at ${step} …`),
  })
  progress.end()
  if (json === true) printJson(diagnosis)
  else printDiagnosis(diagnosis)
  return diagnosis.findings.some(({ level }) => level === 'problem') ? EXIT.no : EXIT.ok
}

function printDiagnosis({ findings, processes, prefixes, settings }: Diagnosis): void {
  for (const { level, about, found, advice } of findings) {
    const sign = SIGNS[level]
    print(`${typeof sign === 'string' ? sign : paint(sign.style, sign.text.padEnd(7))}  ${about}: ${found}`)
    if (advice !== '') print(`         ${paint('dim', advice)}`)
  }
  if (processes.length > 0) {
    const rows = processes.map(({ application, host, pid, version, node, startedAt, memoryBytes, status }) => [
      ...[application, `${host}:${pid}`, version, node],
      ...[duration(Date.now() - startedAt), bytes(memoryBytes), status],
    ])
    print(`\n${table(['APPLICATION', 'PROCESS', 'REDWELL', 'NODE', 'UP', 'MEMORY', 'REDIS'], rows)}`)
  }
  if (prefixes.length > 0) print(`\nOther prefixes on these servers: ${prefixes.join(', ')}`)
  print(`\nSettings: ${JSON.stringify(settings)}`)
}

/** `redwell stats`: all processes that run now, and the last day. */
export async function stats(redis: Redis, { json }: { json?: boolean }): Promise<number> {
  const progress = new Progress()
  progress.show('Asking the processes …')
  const now = redis.scope.now()
  const [{ reports, unread }, buckets] = await Promise.all([
    reportsNow(redis),
    redis.history.read(now - HISTORY_MS, now),
  ])
  progress.end()
  const totals = totalsOf(reports)
  const history = historyOf(buckets)
  const code = incomplete(awayOf(redis), `the numbers of ${unread} processes, and a part of the history,`)
  if (json === true) {
    printJson({ ...totals, unread, history })
    return code
  }
  if (totals.processes === 0) print('No process has reported. Is the application running with this prefix?')
  else {
    print(table(ORIGIN_HEAD, [...totals.origins.filter(({ lookups }) => lookups > 0), totals.all].map(originRow)))
    printReasons('Misses', totals.all.misses)
    printReasons('Bypasses', totals.all.bypasses)
    printReasons('Refusals (served, not stored)', totals.all.refusals)
    const since = totals.since === null ? '' : ` since ${time(totals.since)}`
    print(paint('dim', `\n${totals.processes} ${totals.processes === 1 ? 'process' : 'processes'}${since}`))
  }
  const day = history.reduce((sum, point) => sum + point.hits + point.stale + point.misses, 0)
  const answered = history.reduce((sum, point) => sum + point.hits + point.stale, 0)
  if (day > 0) print(paint('dim', `Last day: ${day} lookups, ${percent(answered / day)} from the cache`))
  return code
}

function awayOf({ connection }: Redis): readonly string[] {
  return (connection?.servers ?? []).flatMap(({ state, where }) => (state === 'ready' ? [] : [where]))
}

const ORIGIN_HEAD = [
  'ROUTE OR NAMESPACE',
  'LOOKUPS',
  'FROM CACHE',
  'STALE',
  'MISSES',
  'BYPASSES',
  'REFUSED',
  'p50',
  'p99',
]

function originRow(origin: OriginTotals): Cell[] {
  const { name, lookups, hitRatio, stale, misses, bypasses, refusals, latency } = origin
  return [
    name === '' ? { text: 'all', style: 'bold' } : name,
    String(lookups),
    percent(hitRatio),
    ...[stale, countOf(misses), countOf(bypasses), countOf(refusals)].map(String),
    ...[latency?.p50Ms, latency?.p99Ms].map((ms) => (ms === undefined ? '-' : `${ms.toFixed(2)} ms`)),
  ]
}

function printReasons(title: string, counts: Readonly<Record<string, number>>): void {
  const sorted = Object.entries(counts).toSorted(([, one], [, other]) => other - one)
  if (sorted.length === 0) return
  const rows = sorted.map(([reason, count]) => [reason, String(count), meaningOf(reason), fixOf(reason)])
  print(`\n${paint('bold', title)}\n${table(['REASON', 'COUNT', 'MEANING', 'WHAT TO DO'], rows)}`)
}

export interface ListOptions {
  readonly limit?: number | undefined
  readonly cursor?: string
  readonly json?: boolean
}

/** `redwell keys`: one page, or with `--all` every entry as it is found. */
export async function keys(redis: Redis, search: string, options: ListOptions & { all?: boolean }): Promise<number> {
  let { cursor } = options
  let [count, examined] = [0, 0]
  const away = new Set<string>()
  const rows: EntrySummary[] = []
  if (options.all === true && options.limit !== undefined)
    throw new UsageError('--limit: with --all there is no limit; leave one of them out')
  const limit = options.all === true ? LIMIT_MAX : (options.limit ?? LIMIT_DEFAULT)
  const progress = new Progress()
  const total = await progress.totalOf(redis)
  do {
    const page = await listEntries(redis, { search, cursor, limit })
    progress.end()
    count += page.items.length
    examined += page.examined
    for (const address of page.away) away.add(address)
    cursor = page.cursor ?? undefined
    if (options.all !== true) rows.push(...page.items)
    else for (const item of page.items) print(options.json === true ? JSON.stringify(item) : entryLine(item))
    progress.show(`Looking: ${count} entries`, examined, total)
  } while (cursor !== undefined && (options.all === true || rows.length < limit))
  progress.end()
  const code = incomplete([...away])
  if (options.all === true) return code
  if (options.json === true) printJson({ items: rows, cursor: cursor ?? null, away: [...away] })
  else {
    print(rows.length === 0 ? 'No entries.' : table(ENTRY_HEAD, rows.map(entryRow)))
    if (cursor !== undefined) print(paint('dim', `More: --cursor ${cursor}, or --all`))
  }
  return code
}

const ENTRY_HEAD = ['KEY', 'KIND', 'STATE', 'AGE', 'FRESH FOR', 'SIZE', 'GROUPS']

const STATES = { fresh: 'green', stale: 'yellow', error: 'yellow', expired: 'dim', invalid: 'red' } as const

function entryRow(entry: EntrySummary): Cell[] {
  const { key, kind, status, state, ageMs, freshForMs, bodyBytes } = entry
  return [
    key,
    kind === 'response' ? String(status) : kind,
    { text: state, style: STATES[state] },
    duration(ageMs),
    state === 'invalid' ? '-' : freshForMs === null ? 'no end' : duration(freshForMs),
    bytes(bodyBytes),
    entry.groups
      .filter(({ kind: which }) => which !== 'path')
      .map(({ name }) => name)
      .join(', '),
  ]
}

/** For pipes: fields between tabs. */
function entryLine(entry: EntrySummary): string {
  return entryRow(entry).map(textOf).join('\t')
}

/** `redwell show`: exit code 1 where there is no such entry. */
export async function show(
  redis: Redis,
  given: string,
  { json, body }: { json?: boolean; body?: boolean },
): Promise<number> {
  const head = redis.scope.nameOf('')
  const key = given.startsWith(head) ? given.slice(head.length) : given
  const [entry, content] = await Promise.all([showEntry(redis, key), body === true ? showBody(redis, key) : undefined])
  if (json === true) printJson(entry === undefined ? null : { ...entry, body: content })
  else if (entry === undefined) print(`There is no entry ${key}. List them with: redwell keys`)
  else {
    printEntry(entry)
    if (content !== undefined) print(`\n${content.text}${content.truncated ? '\n…' : ''}`)
  }
  return entry === undefined ? EXIT.no : EXIT.ok
}

function printEntry(entry: EntryDetail): void {
  const state = paint(STATES[entry.state], entry.state)
  const until = (ms: number | null): string => (ms === null ? 'no end' : duration(ms))
  print(
    fields([
      ['key', entry.redisKey],
      ['kind', entry.kind === 'response' ? `response, status ${entry.status}` : entry.kind],
      ['state', `${state}: ${entry.reasons.join('; ')}`],
      ['stored', `${time(entry.storedAt)}, age ${duration(entry.ageMs)}`],
      ['loaded', `not before ${time(entry.loadedAt)}`],
      ['fresh for', until(entry.freshForMs)],
      ['stale for', until(entry.staleForMs)],
      ['on error for', until(entry.errorForMs)],
      ['body', bytes(entry.bodyBytes)],
      ['being filled', entry.filling ? 'yes' : 'no'],
    ]),
  )
  const rows = entry.groups.map(({ kind, name, allows, invalidatedAt }) => [
    kind === 'prefix' ? 'everything' : name,
    kind,
    allows ? 'allows it' : { text: 'does not allow it', style: 'red' as const },
    time(invalidatedAt),
  ])
  print(`\n${table(['GROUP', 'KIND', '', 'NOTHING OLDER THAN'], rows)}`)
  if (entry.headers.length > 0) print(`\n${fields(entry.headers)}`)
}

/** `redwell groups`. */
export async function groups(redis: Redis, search: string, options: ListOptions): Promise<number> {
  const page = await listGroups(redis, { search, ...options })
  if (options.json === true) printJson(page)
  else {
    const rows = page.items.map(({ kind, name, invalidatedAt, softenedAt }) => [
      name,
      kind,
      time(invalidatedAt),
      time(softenedAt),
    ])
    print(rows.length === 0 ? 'No groups.' : table(['GROUP', 'KIND', 'NOTHING OLDER THAN', 'LAST SOFT EVICTION'], rows))
    if (page.cursor !== null) print(paint('dim', `More: --cursor ${page.cursor}`))
  }
  return incomplete(page.away)
}

/** `redwell explain`: asks the processes that know the routes. */
export async function explainRequest(
  redis: Redis,
  method: string,
  url: string,
  { json, header = [] }: { json?: boolean; header?: readonly string[] },
): Promise<number> {
  const headers = Object.fromEntries(
    header.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()]
    }),
  )
  const progress = new Progress()
  progress.show('Asking the processes …')
  const explained = await explain(redis, { method: method.toUpperCase(), url, headers }).finally(() => progress.end())
  if (json === true) printJson(explained)
  else printExplained(explained)
  return EXIT.ok
}

function printExplained({ route, outcome, reason, meaning, fix, key, vary, entry, lastRefusal }: Explained): void {
  const style = outcome === 'hit' ? 'green' : outcome === 'stale' ? 'yellow' : 'red'
  print(
    fields([
      ['route', route],
      ['outcome', `${paint(style, outcome)} (${reason}): ${meaning}`],
      ...(key === undefined ? [] : [['key', key] as const]),
      ...(vary.length === 0 ? [] : [['varies by', vary.join(', ')] as const]),
      ...(entry === undefined
        ? []
        : [
            [
              'entry',
              `${entry.status}, ${bytes(entry.bodyBytes)}, age ${duration(entry.ageMs)}, groups ${entry.groups.join(', ')}`,
            ] as const,
          ]),
      ...(lastRefusal === undefined
        ? []
        : [
            [
              'last refusal',
              `${time(new Date(lastRefusal.at).getTime())} ${lastRefusal.reason}: ${lastRefusal.message}`,
            ] as const,
          ]),
      ...(fix === '' ? [] : [['what to do', fix] as const]),
    ]),
  )
}
