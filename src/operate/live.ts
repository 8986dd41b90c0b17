import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from '../create-redis.js'
import { asError } from '../errors.js'
import type { Reply } from '../redis/command.js'
import type { Connection } from '../redis/connection.js'
import { GRACE_MS, QUIET_MS, WATCH } from '../report/desk.js'
import type { Answer, ProcessReport, Question } from '../report/types.js'

/** Shortest pause between two reports of a process. */
const PAUSE_MIN_MS = 1000

/** For each process the pause grows by this, so that a thousand processes report no more often in all than fifty. */
const PAUSE_PER_PROCESS_MS = 20

/** Longest pause. */
const PAUSE_MAX_MS = 20_000

/** Time after which every process that runs has seen a new request: its pause, and the way of its report. */
const FIRST_REPORTS_MS = QUIET_MS + 500

/** Processes that are read. */
const PROCESSES_MAX = 5000

/** Asks all processes of a prefix to report, for as long as it is open. With the embedded store: this process alone. */
export class LiveView {
  /** Processes whose last reports could not be read: see `Reports`. */
  unread = 0
  #open = true
  #pauseMs = PAUSE_MIN_MS

  private constructor(private readonly redis: Redis) {}

  /** Rejects with UnavailableError where Redis cannot be reached. */
  static async open(redis: Redis): Promise<LiveView> {
    const view = new LiveView(redis)
    // With a server every process, this one too, listens when it sees the request.
    if (redis.connection === undefined) redis.reporter.listen()
    else await view.#request(redis.connection)
    return view
  }

  /** The pause until there is news, in milliseconds. */
  get pauseMs(): number {
    return this.#pauseMs
  }

  /** The last report of each process, oldest process first. Renews the request. Rejects where Redis cannot be reached. */
  async read(): Promise<readonly ProcessReport[]> {
    const { redis } = this
    if (redis.connection === undefined) return [redis.reporter.report()]
    const { reports, unread } = await readReports(redis, redis.connection)
    this.unread = unread
    const wanted = Math.max(PAUSE_MIN_MS, Math.min(reports.length * PAUSE_PER_PROCESS_MS, PAUSE_MAX_MS))
    if (this.#open) await this.#request(redis.connection, wanted)
    return reports
  }

  /** Processes stop reporting within a few seconds. */
  close(): void {
    this.#open = false
    if (this.redis.connection === undefined) this.redis.reporter.unlisten()
  }

  async #request(connection: Connection, everyMs: number = this.#pauseMs): Promise<void> {
    this.#pauseMs = everyMs
    const { desk, scope } = this.redis
    const until = Math.ceil(scope.now() + everyMs + GRACE_MS)
    await request(connection, desk.requests, `${WATCH}${everyMs}`, until)
  }
}

/** Leaves a request where processes find it, until its expiry; removes expired requests. */
async function request(connection: Connection, key: string, text: string, until: number): Promise<void> {
  const now = Date.now() + connection.clockOffsetMs
  await Promise.all([
    connection.execute(['ZREMRANGEBYSCORE', key, '-inf', String(now)], key, connection.bulkBudget()),
    connection.execute(['ZADD', key, String(until), text], key, connection.bulkBudget()),
    connection.execute(['PEXPIRE', key, String(PAUSE_MAX_MS + 2 * GRACE_MS)], key, connection.bulkBudget()),
  ])
}

/** What processes report. */
export interface Reports {
  readonly reports: readonly ProcessReport[]
  /** Processes whose reports are on a primary of a cluster that does not answer. */
  readonly unread: number
}

async function readReports({ desk, scope }: Redis, connection: Connection): Promise<Reports> {
  const ids = await connection.execute(
    ['ZRANGE', desk.processes, `(${scope.now()}`, '+inf', 'BYSCORE', 'LIMIT', '0', String(PROCESSES_MAX)],
    desk.processes,
    connection.bulkBudget(),
  )
  const names = Array.isArray(ids) ? ids.map((id) => desk.report(String(id))) : []
  const read = (name: string): Promise<Reply | undefined> =>
    connection
      .execute(['GET', name], name, connection.bulkBudget())
      .catch((error: unknown) => (connection.isPartial ? undefined : Promise.reject(asError(error))))
  const texts = await Promise.all(names.map(read))
  const reports = texts.flatMap((text) => (Buffer.isBuffer(text) ? [JSON.parse(text.toString()) as ProcessReport] : []))
  return {
    reports: reports.toSorted((one, other) => one.startedAt - other.startedAt),
    unread: texts.filter((text) => text === undefined).length,
  }
}

/** Reports of all processes that run now; takes `FIRST_REPORTS_MS`, because quiet ones look that seldom. */
export async function reportsNow(redis: Redis): Promise<Reports> {
  const view = await LiveView.open(redis)
  if (redis.connection !== undefined) await pause(FIRST_REPORTS_MS)
  const reports = await view.read()
  view.close()
  return { reports, unread: view.unread }
}

/** Questions to ask about one thing. */
export type Asked = Question extends infer Kind ? (Kind extends Question ? Omit<Kind, 'id'> : never) : never

/** Between two looks at the answers. */
const ANSWER_PAUSE_MS = 100

/** After the first answer others have this long: which refusal was the last one is known to one of them only. */
const LATE_ANSWERS_MS = 1000

/**
 * Asks every process of the prefix. Resolves when all that are known have answered, a second after the first, or with
 * nothing after `FIRST_REPORTS_MS`. With the embedded store, this process answers.
 */
export async function ask(redis: Redis, asked: Asked): Promise<readonly Answer[]> {
  const question: Question = { id: randomBytes(9).toString('base64url'), ...asked }
  const { connection, desk, scope } = redis
  if (connection === undefined) return [await redis.reporter.answer(question)]
  await request(connection, desk.requests, JSON.stringify(question), Math.ceil(scope.now() + GRACE_MS))
  const name = desk.answers(question.id)
  const read = async (): Promise<readonly Answer[]> => {
    const reply = await connection.execute(['ZRANGE', name, '0', '-1'], name, connection.bulkBudget())
    return Array.isArray(reply) ? reply.map((text) => JSON.parse(String(text)) as Answer) : []
  }
  let answers: readonly Answer[] = []
  const startedAt = performance.now()
  let endAt = startedAt + FIRST_REPORTS_MS
  while (performance.now() < endAt) {
    await pause(ANSWER_PAUSE_MS)
    const before = answers.length
    answers = await read()
    const isFirst = before === 0 && answers.some(({ none }) => none === undefined)
    if (isFirst) endAt = Math.min(endAt, performance.now() + LATE_ANSWERS_MS)
  }
  return answers
}
