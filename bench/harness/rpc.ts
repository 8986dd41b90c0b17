import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** What a child process offers: commands by name, each with one argument and one answer that JSON can carry. */
export type Handlers = Record<string, (argument: never) => unknown>

interface Call {
  readonly id: number
  readonly command: string
  readonly argument: unknown
}

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

/** In the child: answers the parent's calls, and ends when the parent has gone. */
export function serve(handlers: Handlers): void {
  const known = new Map(Object.entries(handlers) as [string, (argument: unknown) => unknown][])
  process.on('message', (call: Call) => {
    void answer(known, call).then((answered) => process.send?.(answered))
  })
  process.once('disconnect', () => process.exit())
}

async function answer(known: Map<string, (argument: unknown) => unknown>, call: Call): Promise<Answer> {
  try {
    return { id: call.id, result: await known.get(call.command)?.(call.argument) }
  } catch (error) {
    return { id: call.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: Error): void
}

/** What a process' collections of garbage have done so far. */
export interface Collected {
  /** Bytes that outlived a collection of young objects, and are kept until a full one. */
  readonly promoted: number
  /** Full collections. */
  readonly full: number
}

/** A line of `--trace-gc-nvp`: `s` collects the young objects, `ms` all. */
const COLLECTION = / gc=(\w+) .* promoted=(\d+)/

/** Its beginning, where a thread has written between the two parts. */
const COLLECTION_HEAD = /^\[\d+:0x\w+\] +\d+ ms: $/

/** Variants import redwell as it is published, not its sources, which the loader of TypeScript makes slower. */
const PUBLISHED = { ...process.env, TSX_TSCONFIG_PATH: fileURLToPath(new URL('../tsconfig.json', import.meta.url)) }

/** In the parent: a child process and its commands. */
export class Remote {
  readonly #child: ChildProcess
  #promoted = 0
  #full = 0
  readonly #waiting = new Map<number, Waiting>()
  #calls = 0

  constructor(module: URL, args: readonly string[] = []) {
    this.#child = fork(module, args, {
      env: PUBLISHED,
      execArgv: ['--import', 'tsx', '--trace-gc-nvp'],
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    if (this.#child.stdout !== null) createInterface(this.#child.stdout).on('line', (line) => this.#read(line))
    this.#child.on('message', (answered: Answer) => this.#settle(answered))
    this.#child.once('exit', (code, signal) => this.#fail(new Error(`${module.pathname} ended (${signal ?? code})`)))
  }

  /** Node writes what it knows in blocks, so the last collections are missing. */
  get collected(): Collected {
    return { promoted: this.#promoted, full: this.#full }
  }

  async call<Result>(command: string, argument?: unknown): Promise<Result> {
    const id = ++this.#calls
    const answered = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
    this.#child.send({ id, command, argument } satisfies Call)
    return (await answered) as Result
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }

  #read(line: string): void {
    const [matched, kind, promoted] = COLLECTION.exec(line) ?? []
    if (matched === undefined) {
      if (!COLLECTION_HEAD.test(line)) console.log(line)
      return
    }
    this.#promoted += Number(promoted)
    if (kind !== 's') this.#full += 1
  }

  #settle({ id, result, error }: Answer): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(error))
  }

  #fail(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }
}
