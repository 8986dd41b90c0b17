import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Connection, QueryOptions } from '../database.js'

interface Order extends QueryOptions {
  sql: string
  values?: readonly unknown[]
  /** Several statements, whose rows nobody wants. */
  script?: boolean
}

type Report = { id: number; rows: unknown[] } | { id: number; problem: string }

interface Waiting {
  settle: (rows: unknown[]) => void
  fail: (reason: Error) => void
}

/**
 * The embedded Postgres in a thread of its own, as a server would be in a process of its own: it computes without a
 * pause, and in the thread of the server nobody would be answered meanwhile, not even from the cache.
 */
export class PostgresThread implements Connection {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #orders = 0
  #gone: Error | undefined

  private constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (report: Report) => this.#settle(report))
    worker.once('error', (error) => this.#fail(error))
    worker.once('exit', () => this.#fail(new Error('The database is closed')))
  }

  /** Resolves when it takes queries. Without a folder the data are in memory. */
  static async start(folder: string | undefined): Promise<PostgresThread> {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: { folder } })
    await once(worker, 'message')
    return new PostgresThread(worker)
  }

  async query(sql: string, values: readonly unknown[] = [], options: QueryOptions = {}): Promise<{ rows: unknown[] }> {
    return { rows: await this.#ask({ sql, values, ...options }) }
  }

  async exec(sql: string): Promise<void> {
    await this.#ask({ sql, script: true })
  }

  /** Resolves when everything is on the disk. */
  async close(): Promise<void> {
    if (this.#gone !== undefined) return
    const exited = once(this.#worker, 'exit')
    this.#tell('close')
    await exited
  }

  #ask(order: Order): Promise<unknown[]> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone)
    const id = ++this.#orders
    return new Promise((settle, fail) => {
      this.#waiting.set(id, { settle, fail })
      this.#tell({ ...order, id })
    })
  }

  #tell(order: 'close' | (Order & { id: number })): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window and has no origin
    this.#worker.postMessage(order)
  }

  #settle(report: Report): void {
    const waiting = this.#waiting.get(report.id)
    this.#waiting.delete(report.id)
    if ('problem' in report) waiting?.fail(new Error(report.problem))
    else waiting?.settle(report.rows)
  }

  #fail(reason: Error): void {
    this.#gone ??= reason
    for (const { fail } of this.#waiting.values()) fail(this.#gone)
    this.#waiting.clear()
  }
}
