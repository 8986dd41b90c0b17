import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeEntry } from '../../src/store/entry.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { buildShop } from './shop.js'

const COUNT = 1_000_000

/** Less than a tenth of what a million entries would take. */
const HEAP_MB = 64

/** KEYS, or a loop over a million in a script, takes several times this long. */
const SLOW_MICROSECONDS = 100_000

const ROOT = join(import.meta.dirname, '../..')
const prefix = `million-${randomUUID().slice(0, 8)}`

let server: RedisServer
let app: FastifyInstance

beforeAll(async () => {
  server = await startRedis()
  app = await buildShop({ url: server.url, prefix, logger: silentLogger, commandTimeout: '5s' })
  await app.redis.connect()
  await app.inject('/products/1')
  await app.inject('/users/1')
  await copies('/products/1', '/products/')
  await copies('value:users:1', 'value:users:')
  await admin('CONFIG', 'SET', 'slowlog-log-slower-than', String(SLOW_MICROSECONDS))
  await admin('SLOWLOG', 'RESET')
}, 120_000)
afterAll(async () => {
  await app?.close()
  await server?.close()
})

const admin = (...command: string[]): Promise<unknown> =>
  app.redis.connection?.servers[0]?.inspect(command) ?? Promise.reject(new Error('no server'))

/** Half of the keys, written by the server itself: encoded once, copied. */
async function copies(key: string, start: string): Promise<void> {
  const entry = (await app.redis.scope.inspect.read([key], [])).entries[0]
  const bytes = entry === undefined ? undefined : encodeEntry({ ...entry, freshUntil: Infinity })
  if (bytes === undefined) throw new Error(`no entry ${key}`)
  const script = `for i = ARGV[1], ARGV[2] do redis.call('SET', KEYS[1] .. i, ARGV[3]) end`
  const STEP = 20_000
  for (let from = 0; from < COUNT / 2; from += STEP) {
    const command = ['EVAL', script, '1', `${prefix}:entry:${start}`, String(from), String(from + STEP - 1), bytes]
    await app.redis.connection?.execute(command, undefined, app.redis.connection.bulkBudget())
  }
}

interface Said {
  readonly code: number | null
  readonly lines: number
  /** The first and last lines. */
  readonly text: string
  readonly seconds: number
}

/** Runs the command with a heap that a million entries do not fit into, and reads its lines as a pipe would. */
async function redwell(args: readonly string[], atTerminal = false): Promise<Said> {
  const program = [
    process.execPath,
    `--max-old-space-size=${HEAP_MB}`,
    '--import',
    'tsx',
    join(ROOT, 'src/cli/main.ts'),
  ]
  const line = [...program, ...args].map((part) => `'${part}'`).join(' ')
  const [file = '', ...rest] = atTerminal
    ? ['script', '-qec', `stty cols 120; ${line}`, '/dev/null']
    : [...program, ...args]
  const startedAt = performance.now()
  const env = { ...process.env, REDIS_URL: server.url, REDIS_PREFIX: prefix, TERM: 'xterm', FORCE_COLOR: '1' }
  const child = spawn(file, rest, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let [lines, errors] = [0, '']
  const first: string[] = []
  const last: string[] = []
  child.stderr.on('data', (text: Buffer) => (errors = (errors + text.toString()).slice(-2000)))
  for await (const text of createInterface({ input: child.stdout })) {
    lines += 1
    if (first.length < 100) first.push(text)
    else last.push(text)
    if (last.length > 20) last.shift()
  }
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve))
  const seconds = (performance.now() - startedAt) / 1000
  console.log(`${args.join(' ')}${atTerminal ? ', at a terminal' : ''}: ${lines} lines in ${seconds.toFixed(1)} s`)
  return { code: child.exitCode, lines, text: [...first, ...last, errors].join('\n'), seconds }
}

const bars = (text: string): number[] => [...text.matchAll(/\] (\d+) %/g)].map(([, percent]) => Number(percent))

test('with a million keys every list, search, eviction and sweep ends, in little memory, and blocks no server', async () => {
  const page = await redwell(['keys'])
  expect(page).toMatchObject({ code: 0, text: expect.stringMatching(/More: --cursor \d+/) })
  expect(page.lines).toBeLessThan(300)

  const found = await redwell(['keys', '/products/77777', '--json'])
  expect(found.text.match(/"key"/g)).toHaveLength(1)
  const atTerminal = await redwell(['keys', '/products/7777', '--limit', '1000'], true)
  expect(atTerminal.text.match(/^\/products\/7777\d* /gm)).toHaveLength(11)
  expect(new Set(bars(atTerminal.text)).size).toBeGreaterThan(0)

  const all = await redwell(['keys', '--all'])
  expect(all.code).toBe(0)
  expect(all.lines).toBeGreaterThanOrEqual(COUNT)
  expect(all.lines).toBeLessThan(1.01 * COUNT)

  expect((await redwell(['stats'])).text).toMatch(/GET \/products\/:id +1 /)
  expect((await redwell(['doctor'])).code).toBe(0)
  expect((await redwell(['evict', '--namespace', 'users', '--yes'])).code).toBe(0)
  const swept = await redwell(['sweep'], true)
  expect(swept.text).toMatch(/Removed 500\d{3} of 1000\d{3} entries/)
  expect(new Set(bars(swept.text)).size).toBeGreaterThan(3)
  expect((await redwell(['evict', '--group', 'products', '--yes'])).code).toBe(0)
  const left = await redwell(['sweep'])
  expect(left.text).toMatch(/Removed 500\d{3} of 500\d{3} entries/)
  expect(left.text).not.toContain('%')
  expect((await redwell(['keys'])).text).toContain('No entries.')

  const slow = (await admin('SLOWLOG', 'GET', '10')) as [unknown, unknown, unknown, Buffer[]][]
  expect(slow.map(([, , , command]) => command.map(String).join(' ').slice(0, 100))).toEqual([])
}, 240_000)
