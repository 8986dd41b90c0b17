import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface RedisServerOptions {
  readonly port?: number
  /** Further arguments of redis-server, such as `['--requirepass', 'x']`. */
  readonly args?: readonly string[]
  /** Keep the data over a restart. Default false. */
  readonly persistent?: boolean
  /** `sentinel` runs the file `sentinel.conf` of its folder in place of a server. */
  readonly program?: 'server' | 'sentinel'
  /** Which server program. Default: Redis, or the one that `REDWELL_TEST_REDIS_SERVER` names. */
  readonly executable?: string
}

/** Another server program runs the same tests, such as a Valkey or a newer Redis. */
const PROGRAM = process.env['REDWELL_TEST_REDIS_SERVER'] ?? 'redis-server'

/** Major and minor version of the server program. */
export function serverVersion(): number {
  return Number(/ v=(\d+\.\d+)/.exec(execFileSync(PROGRAM, ['--version'], { encoding: 'utf8' }))?.[1])
}

/** Whether the server program was built with TLS. Either way it ends at once, because it has no certificate. */
export function hasTls(): boolean {
  const args = ['--port', '0', '--tls-port', '1', '--save', '']
  return !spawnSync(PROGRAM, args, { encoding: 'utf8', timeout: 10_000 }).stdout.includes('Failed finding TLS support')
}

const running = new Set<ChildProcess>()
const dirs = new Set<string>()

/** Nothing outlives the test process, whichever way it ends. */
function sweep(): void {
  for (const child of running) child.kill('SIGKILL')
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
}

process.once('exit', sweep)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    sweep()
    // Listening took away the signal's own effect, unless somebody else (the test runner) answers it.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
  })
}

/** A real Redis server of the test's own, on 127.0.0.1. */
export class RedisServer {
  readonly port: number
  readonly url: string
  readonly dir: string
  readonly #options: RedisServerOptions
  #child: ChildProcess | undefined
  #paused = false

  constructor(port: number, options: RedisServerOptions) {
    this.port = port
    this.url = `redis://127.0.0.1:${port}`
    this.dir = mkdtempSync(join(tmpdir(), 'redwell-redis-'))
    dirs.add(this.dir)
    this.#options = options
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Running, and not paused. */
  get answers(): boolean {
    return this.#child !== undefined && !this.#paused
  }

  /** Resolves when the server accepts connections. */
  async start(): Promise<void> {
    const keep = this.#options.persistent === true ? ['--appendonly', 'yes'] : ['--save', '']
    const args = [
      '--port',
      String(this.port),
      '--bind',
      '127.0.0.1',
      '--dir',
      this.dir,
      ...keep,
      ...(this.#options.args ?? []),
    ]
    const own = this.#options.program === 'sentinel' ? [join(this.dir, 'sentinel.conf'), '--sentinel'] : args
    const child = spawn(this.#options.executable ?? PROGRAM, own, { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#child = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    await ready(child, this.#options.program === 'sentinel' ? '+monitor' : 'Ready to accept connections')
  }

  /** Asks it to end, as an operator would. */
  stop(): Promise<void> {
    return this.#end('SIGTERM')
  }

  /** Ends it without warning. */
  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  /** It hangs: connections stay open and nothing is answered. */
  pause(): void {
    this.#paused = true
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#paused = false
    this.#child?.kill('SIGCONT')
  }

  async restart(): Promise<void> {
    await this.kill()
    await this.start()
  }

  /** Ends it and removes its files. */
  async close(): Promise<void> {
    this.resume()
    await this.kill()
    rmSync(this.dir, { recursive: true, force: true })
    dirs.delete(this.dir)
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
}

async function ready(child: ChildProcess, sign: string): Promise<void> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const log: string[] = []
  for await (const line of lines) {
    log.push(line)
    if (line.includes(sign)) {
      child.stdout?.resume()
      return
    }
  }
  throw new Error(`redis-server ended before it was ready:\n${log.join('\n')}`)
}

/** Another process may take a free port before the server does. */
const PORT_ATTEMPTS = 3

/** A server on a free port, started. */
export async function startRedis(options: RedisServerOptions = {}, attempts = PORT_ATTEMPTS): Promise<RedisServer> {
  const server = new RedisServer(options.port ?? (await freePort()), options)
  try {
    await server.start()
    return server
  } catch (error) {
    await server.close()
    const taken = error instanceof Error && error.message.includes('Address already in use')
    if (!taken || options.port !== undefined || attempts <= 1) throw error
    return startRedis(options, attempts - 1)
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** The server that the test command started for the whole run, or one of the caller's own. */
export async function sharedRedis(): Promise<{ url: string; close(): Promise<void> }> {
  const url = process.env['REDWELL_TEST_REDIS_URL']
  return url === undefined ? startRedis() : { url, close: async () => {} }
}
