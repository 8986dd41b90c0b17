import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { silentLogger } from '../support/logger.js'
import { RedisCluster } from '../support/redis-cluster.js'
import { SentinelTrio } from '../support/redis-sentinel.js'
import { startRedis } from '../support/redis-server.js'
import { buildShop } from './shop.js'

const ROOT = join(import.meta.dirname, '../..')
const PROGRAM = [process.execPath, '--import', 'tsx', join(ROOT, 'src/cli/main.ts')]

interface Place {
  readonly env: Readonly<Record<string, string>>
  close(): Promise<void>
}

const PLACES: Readonly<Record<string, () => Promise<Place>>> = {
  async standalone() {
    const server = await startRedis()
    return { env: { REDIS_URL: server.url }, close: () => server.close() }
  },
  async cluster() {
    const cluster = await RedisCluster.start()
    return { env: { REDIS_URL: cluster.url, REDIS_CLUSTER: 'true' }, close: () => cluster.close() }
  },
  async sentinel() {
    const trio = await SentinelTrio.start()
    const env = { REDIS_SENTINEL: 'true', REDIS_SENTINEL_NODES: trio.nodes.join(','), REDIS_URL: '' }
    return { env, close: () => trio.close() }
  },
}

interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

function start(command: readonly string[], env: Place['env'], input = ''): Promise<Said> {
  const [file = '', ...args] = command
  return new Promise((resolve) => {
    const child = execFile(file, args, { env: { ...process.env, ...env }, cwd: ROOT }, (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err }),
    )
    // What ends a question is typed when it is asked: before, it would end the program.
    if (['\u0003', '\u0004'].includes(input))
      child.stdout?.on('data', (part) => String(part).includes('[y/N]') && child.stdin?.write(input))
    else child.stdin?.write(input)
    if (input === '') child.stdin?.end()
  })
}

/** In a pseudo-terminal of util-linux's `script`, which passes on what is typed and returns the exit code. */
function atTerminal(args: readonly string[], env: Place['env'], typed = ''): Promise<Said> {
  const line = [...PROGRAM, ...args].map((part) => `'${part}'`).join(' ')
  const more = { ...env, TERM: 'xterm', FORCE_COLOR: '1' }
  return start(['script', '-qec', `stty cols 120; ${line}`, '/dev/null'], more, typed)
}

describe.each(Object.keys(PLACES))('on %s', (name) => {
  const prefix = `cli-${randomUUID().slice(0, 8)}`
  let place: Place
  let env: Record<string, string>
  let app: FastifyInstance
  const piped = (...args: string[]) => start([...PROGRAM, ...args], env)
  const json = async (...args: string[]): Promise<unknown> => JSON.parse((await piped(...args, '--json')).out)

  beforeAll(async () => {
    place = await (PLACES[name] as () => Promise<Place>)()
    env = { ...place.env, REDIS_PREFIX: prefix }
    const cluster = place.env['REDIS_CLUSTER'] === 'true'
    const nodes = place.env['REDIS_SENTINEL_NODES']?.split(',')
    const where = nodes === undefined ? { url: place.env['REDIS_URL'], cluster } : { sentinel: { nodes } }
    app = await buildShop({ ...where, prefix, logger: silentLogger, commandTimeout: '5s', sessions: {} })
    await app.redis.connect()
    for (let id = 0; id < 30; id += 1) await app.inject(`/products/${id}`)
    for (const url of ['/users/1', '/limited', '/login/ann', '/login/ann', '/login/ben']) await app.inject(url)
    await app.inject({ url: '/basket', headers: { cookie: 'a=1' } })
  }, 90_000)
  afterAll(async () => {
    await app.close()
    await place.close()
  }, 60_000)

  test('every look, in a pipe and as JSON', async () => {
    const doctor = await piped('doctor')
    expect(doctor.code).toBe(0)
    expect(doctor.out).toMatch(/permissions: all commands that redwell sends are allowed/)
    expect(doctor.out).not.toContain('\u001b')
    // The server itself, also behind sentinels, where the setting of its address is a default without a meaning.
    expect(doctor.out).toMatch(/^ok +version of 127\.0\.0\.1:\d+: /m)
    expect(doctor.out.includes('"nodes":[{"host":"localhost"')).toBe(false)
    expect(await json('doctor')).toMatchObject({ health: { status: 'ready', topology: name } })
    expect((await piped('stats')).out).toMatch(/GET \/products\/:id +30 /)
    expect(await json('stats')).toMatchObject({ processes: 1 })
    const all = (await piped('keys', '/products/', '--all')).out.trim().split('\n')
    expect(new Set(all.map((line) => line.split('\t')[0])).size).toBe(30)
    expect(await json('show', '/products/1', '--body')).toMatchObject({ state: 'fresh', body: { isText: true } })
    expect((await piped('groups')).out).toContain('products')
    expect(await json('explain', 'GET', '/basket')).toMatchObject({ lastRefusal: { reason: 'unkeyed-read' } })
    expect((await piped('show', '/none')).code).toBe(1)
    const watching = piped('watch', '--seconds', '4')
    const again = setInterval(() => void app.inject('/products/1'), 100)
    expect((await watching).out).toContain('GET /products/:id')
    clearInterval(again)
  }, 90_000)

  test('limits and sessions are listed, reset and revoked', async () => {
    const { items } = (await json('limits')) as { items: { key: string }[] }
    expect(items).toHaveLength(1)
    expect((await piped('limits', '--reset', items[0]?.key ?? '')).code).toBe(2)
    expect(await json('limits', '--reset', items[0]?.key ?? '', '--yes')).toEqual({ reset: items[0]?.key })
    expect(await json('limits')).toMatchObject({ items: [] })
    const found = (await json('sessions', 'ann')) as { handle: string }[]
    expect(found).toHaveLength(2)
    expect((await piped('sessions', 'ann', '--revoke', found[0]?.handle ?? '', '--yes')).out).toBe('Ended: 1\n')
    expect((await piped('sessions', 'ann', '--revoke', 'none', '--yes')).code).toBe(1)
    expect((await piped('sessions', 'ann', '--revoke-all', '--yes')).out).toBe('Ended: 1\n')
    expect(await json('sessions', 'ann')).toEqual([])
    expect(await json('sessions', 'ben')).toHaveLength(1)
  }, 60_000)

  test('at a terminal: colours, a question, a progress bar', async () => {
    expect((await atTerminal(['keys', '/products/1'], env)).out).toContain('\u001b[32mfresh')
    const no = await atTerminal(['evict', '--group', 'products'], env, 'n\n')
    expect(no.out).toContain(`Evict the group products under the prefix ${prefix}? [y/N]`)
    expect(no.code).toBe(1)
    for (const [typed, code] of [
      ['\u0003', 130],
      ['\u0004', 1],
    ] as const) {
      const ended = await atTerminal(['evict', '--group', 'products'], env, typed)
      expect([ended.code, ended.out]).toEqual([code, expect.not.stringMatching(/Abort|unsettled|\n\s+at /)])
    }
    expect(await json('show', '/products/1')).toMatchObject({ state: 'fresh' })
    expect((await atTerminal(['evict', '--group', 'products'], env, 'y\n')).code).toBe(0)
    expect(await json('show', '/products/1')).toMatchObject({ state: 'invalid' })
    const swept = await atTerminal(['sweep'], env)
    expect(swept.out).toMatch(/\[#+-*\] \d+ %/)
    expect(swept.out).toMatch(/Removed 30 of \d+ entries/)
    expect((await atTerminal(['watch', '--seconds', '2'], env)).out).toContain('Ctrl-C ends')
  }, 60_000)

  test('evicting by URL, key, namespace, and all', async () => {
    for (const [target, key] of [
      [['/products/50'], '/products/50'],
      [['--key', '/products/51'], '/products/51'],
      [['--namespace', 'users'], 'value:users:1'],
      [['--all'], '/products/52'],
    ] as const) {
      await app.inject(key.startsWith('value') ? '/users/1' : key)
      expect(await json('show', key)).toMatchObject({ state: 'fresh' })
      expect((await piped('evict', ...target, '--yes')).code).toBe(0)
      expect(await json('show', key)).not.toMatchObject({ state: 'fresh' })
    }
  }, 60_000)
})
