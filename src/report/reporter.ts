import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { messageOf, UsageError } from '../errors.js'
import type { ExplainRequest, Explanation } from '../cache/explanation.js'
import type { Connection } from '../redis/connection.js'
import { type ConnectionCounters, type ConnectionStatus, noCounts } from '../redis/server.js'
import type { Origin } from '../telemetry/events.js'
import type { Outcomes } from '../telemetry/stats.js'
import type { Telemetry } from '../telemetry/telemetry.js'
import { type Desk, GRACE_MS, NAME_MS, QUIET_MS, WATCH } from './desk.js'
import { EventSample } from './event-sample.js'
import { emptyCounts, type History, type OriginCounts, totalOf } from './history.js'
import type { Answer, ProcessReport, Question, ReportedLimiter, ReportedOrigin } from './types.js'

/** Pause between two entries of a process in the history. */
const HISTORY_PAUSE_MS = 60_000

/** Routes and namespaces in one report, the busiest first. */
const ORIGINS_MAX = 200

/** Questions that a process remembers to have answered. */
const ANSWERED_MAX = 1000

/** The part of a report about one handle. */
export interface Reported {
  readonly telemetry: Telemetry
  readonly status: () => ConnectionStatus
  readonly limiters: () => readonly ReportedLimiter[]
  readonly explain: (request: ExplainRequest) => Promise<Explanation>
  readonly pathsOf: (
    url: string,
    options: { host?: string; per?: string; prefix?: string },
  ) => readonly string[] | undefined
  /** Milliseconds since the epoch, by Redis' clock. */
  readonly now: () => number
  /** The setting; undefined: the name of the package. */
  readonly application: string | undefined
  /** Whether it caches routes. */
  readonly cachesRoutes: () => boolean
  readonly warn: (message: string) => void
}

/**
 * Reports a process to operators. While none is watching, it asks Redis every two seconds whether one is, and
 * adds its counts to the history once a minute. While one is watching, it reports at the interval that was requested.
 */
export class Reporter {
  readonly id = randomBytes(9).toString('base64url')
  readonly #events: EventSample
  readonly #startedAt = Date.now() - Math.round(performance.now())
  readonly #answered = new Set<string>()
  readonly #written = new Map<string, OriginCounts>()
  #timer: NodeJS.Timeout | undefined
  #writtenAt = performance.now()
  #stopped = false
  #isNamed = false

  constructor(
    private readonly connection: Connection | undefined,
    private readonly desk: Desk,
    private readonly history: History,
    private readonly reported: Reported,
  ) {
    this.#events = new EventSample(reported.telemetry, reported.now)
  }

  /** Begins to look for operators, at a random moment of the first pause: processes start together. */
  start(): void {
    if (this.#timer === undefined && !this.#stopped) this.#schedule(Math.random() * QUIET_MS)
  }

  /** Adds the last counts to the history, and stops. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#events.stop()
    if (this.reported.status() === 'ready') await this.write().catch(() => {})
  }

  #schedule(inMs: number): void {
    this.#timer = setTimeout(() => void this.#turn(), inMs).unref()
  }

  async #turn(): Promise<void> {
    // No request waits for this; the next turn tries again.
    const everyMs = await this.#look().catch(() => undefined)
    await this.#name().catch(() => {})
    if (performance.now() - this.#writtenAt >= HISTORY_PAUSE_MS) await this.write().catch(() => {})
    if (!this.#stopped) this.#schedule(everyMs ?? QUIET_MS)
  }

  /** The pause until the next report; undefined while no operator looks. */
  async #look(): Promise<number | undefined> {
    const { connection, desk } = this
    if (connection === undefined || this.reported.status() !== 'ready') return undefined
    const from = `(${this.reported.now()}`
    const reply = await connection.inspect(['ZRANGE', desk.requests, from, '+inf', 'BYSCORE'], desk.requests)
    const requests = Array.isArray(reply) ? reply.map(String) : []
    const watches = requests.filter((one) => one.startsWith(WATCH)).map((one) => Number(one.slice(WATCH.length)))
    const questions = requests.filter((one) => one.startsWith('{'))
    await Promise.all(questions.map((text) => this.#answer(JSON.parse(text) as Question)))
    if (watches.length === 0) {
      this.#events.stop()
      return undefined
    }
    const everyMs = Math.min(...watches)
    await this.#report(connection, everyMs)
    return everyMs
  }

  /** Stores the application's name under the prefix, and logs another one that is there: their routes share entries. */
  async #name(): Promise<void> {
    const { connection, desk, reported } = this
    if (connection === undefined || this.#isNamed || !reported.cachesRoutes() || reported.status() !== 'ready') return
    this.#isNamed = true
    const name = this.#application
    const command = ['SET', desk.application, name, 'NX', 'GET', 'PX', String(NAME_MS)]
    const other = await connection.inspect(command, desk.application)
    if (other === null || String(other) === name) return
    reported.warn(
      `redwell: the applications '${String(other)}' and '${name}' cache routes under one prefix, '${desk.prefix}', so each may answer with what the other has stored: give each a \`prefix\` (REDIS_PREFIX) of its own, or both the same \`application\` (REDIS_APPLICATION) where they are one`,
    )
  }

  get #application(): string {
    return this.reported.application ?? applicationName()
  }

  async #report(connection: Connection, everyMs: number): Promise<void> {
    if (this.#stopped) return
    this.#events.start()
    const { desk, id } = this
    const lifeMs = everyMs + GRACE_MS
    const until = String(Math.ceil(this.reported.now() + lifeMs))
    const text = JSON.stringify(this.report())
    await Promise.all([
      connection.inspect(['SET', desk.report(id), text, 'PX', String(lifeMs)], desk.report(id)),
      connection.inspect(['ZADD', desk.processes, until, id], desk.processes),
      connection.inspect(['PEXPIRE', desk.processes, String(2 * lifeMs)], desk.processes),
    ])
  }

  /** Answers a question once. */
  async #answer(question: Question): Promise<void> {
    if (this.#answered.has(question.id)) return
    if (this.#answered.size >= ANSWERED_MAX) this.#answered.clear()
    this.#answered.add(question.id)
    const name = this.desk.answers(question.id)
    const answer = JSON.stringify(await this.answer(question))
    await this.connection?.inspect(['ZADD', name, '0', answer], name)
    await this.connection?.inspect(['PEXPIRE', name, String(2 * GRACE_MS)], name)
  }

  /** What this process knows about a question. */
  async answer(question: Question): Promise<Answer> {
    const { reported, id: process } = this
    try {
      if (question.kind === 'explain') return { process, explanation: await reported.explain(question.request) }
      const { kind: _kind, id: _id, url, ...options } = question
      const paths = reported.pathsOf(url, options)
      return paths === undefined ? { process, none: 'It has no cached routes.' } : { process, paths }
    } catch (error) {
      const message = messageOf(error)
      return { process, none: error instanceof UsageError ? message : `The route's own options failed: ${message}` }
    }
  }

  /** The report of this moment. The events of the sample are in one report only. */
  report(): ProcessReport {
    const { telemetry, status, limiters, now } = this.reported
    return {
      id: this.id,
      application: this.#application,
      host: hostname(),
      pid: process.pid,
      node: process.version,
      version: packageVersion(),
      startedAt: this.#startedAt,
      since: telemetry.since,
      at: now(),
      memoryBytes: process.memoryUsage.rss(),
      status: status(),
      counters: this.#counters(),
      clockOffsetMs: this.connection?.clockOffsetMs ?? 0,
      origins: this.#origins(),
      rateLimits: telemetry.limits.read(),
      limiters: limiters(),
      events: this.#events.take(),
    }
  }

  /** Begins to keep a sample of events, for the reports of this process to itself. */
  listen(): void {
    this.#events.start()
  }

  /** Ends it. */
  unlisten(): void {
    this.#events.stop()
  }

  #counters(): ConnectionCounters {
    return this.connection?.counters ?? noCounts()
  }

  #origins(): readonly ReportedOrigin[] {
    const recorders = this.reported.telemetry.recorders()
    const busiest = recorders
      .map((recorder) => ({ recorder, total: totalOf(recorder.outcomes()) }))
      .toSorted((one, other) => other.total - one.total)
      .slice(0, ORIGINS_MAX)
    return busiest.map(({ recorder }) => {
      const { latency: _, ...stats } = recorder.read()
      return { ...recorder.origin, stats, times: recorder.lookupTimes() }
    })
  }

  /** Adds what was counted since the last time to the history. */
  async write(): Promise<void> {
    this.#writtenAt = performance.now()
    const counts = this.reported.telemetry
      .recorders()
      .map((recorder) => this.#since(recorder.origin, recorder.outcomes()))
    await this.history.add(
      this.reported.now(),
      counts.filter((one) => totalOf(one) > 0),
    )
  }

  /** What an origin has counted since it was asked last. After a reset everything counts anew. */
  #since({ kind, name }: Origin, all: Outcomes): OriginCounts {
    const id = `${kind}:${name}`
    const before = this.#written.get(id) ?? emptyCounts(kind, name)
    const now = { ...all, kind, name }
    this.#written.set(id, now)
    if (totalOf(now) < totalOf(before)) return now
    return {
      kind,
      name,
      hits: now.hits - before.hits,
      stale: now.stale - before.stale,
      misses: now.misses - before.misses,
      bypasses: now.bypasses - before.bypasses,
    }
  }
}

let application: string | undefined

/** Name in the nearest package.json of the script that was started, or the script's own. */
function applicationName(): string {
  application ??= process.env['npm_package_name'] ?? nearestName(process.argv[1]) ?? 'node'
  return application
}

function nearestName(script: string | undefined): string | undefined {
  if (script === undefined) return undefined
  for (let folder = dirname(script); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json')
    if (existsSync(file)) {
      const { name } = JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown }
      if (typeof name === 'string') return name
    }
    if (dirname(folder) === folder) return basename(script)
  }
}

let version: string | undefined

/** A bundle has no package.json of ours. */
export function packageVersion(): string {
  if (version === undefined) {
    try {
      version = (createRequire(import.meta.url)('redwell/package.json') as { version: string }).version
    } catch {
      version = 'unknown'
    }
  }
  return version
}
