import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { transformSync } from 'esbuild'
import express, { type Express, type RequestHandler } from 'express'
import { expect, onTestFinished, test } from 'vitest'
import * as adapter from '../../src/adapters/express/index.js'
import { createRedis } from '../../src/index.js'
import * as testing from '../../src/testing/index.js'
import { silentLogger } from '../support/logger.js'

// The code of docs/rate-limiting.md, as it stands there.

const PAGE = readFileSync(new URL('../../docs/rate-limiting.md', import.meta.url), 'utf8')
const MODULES = { express: { default: express }, 'redwell/express': adapter, 'redwell/testing': testing }

/** The first block below a heading. */
function sampleOf(heading: string): string {
  const [, section = ''] = PAGE.split(`### ${heading}\n`)
  const code = /^```ts\n([^]*?)^```$/m.exec(section)?.[1]
  if (code === undefined) throw new Error(`no sample below ${heading}`)
  return code
}

/** Runs a sample where these names are known, and returns one that it declares. */
async function run(heading: string, known: object, wanted = 'undefined'): Promise<unknown> {
  const plain = transformSync(sampleOf(heading), { loader: 'ts', target: 'node20' }).code
  const code = plain
    .replace(/^import (\w+) from "([^"]+)";$/gm, 'const { default: $1 } = await load("$2");')
    .replace(/^import (\{[^}]+\}) from "([^"]+)";$/gm, 'const $1 = await load("$2");')
  const load = (name: string): unknown => (name in MODULES ? MODULES[name as keyof typeof MODULES] : import(name))
  const names = { load, ...known }
  const Run = Object.getPrototypeOf(async () => {}).constructor as new (
    ...parts: string[]
  ) => (...values: unknown[]) => Promise<unknown>
  return new Run(...Object.keys(names), `${code}\nreturn ${wanted}`)(...Object.values(names))
}

interface Shop {
  readonly app: Express
  readonly redis: ReturnType<typeof createRedis>
  ask(path: string, init?: { json?: unknown; headers?: Record<string, string>; method?: string }): Promise<Response>
  statuses(...asked: Parameters<Shop['ask']>[]): Promise<number[]>
}

/** An application with what the samples of a page of Express expect, on a port. */
async function shop(): Promise<Shop> {
  const app = express()
  const own = adapter.redwell({ url: 'memory:', logger: silentLogger })
  app.use(own)
  app.use((req, _, next) => {
    const [id, plan] = [req.get('x-user'), req.get('x-plan') ?? 'free']
    if (id !== undefined) Object.assign(req, { user: { id, plan } })
    next()
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await own.close()
  })
  const { port } = server.address() as AddressInfo
  const ask: Shop['ask'] = (path, { json, headers, method = json === undefined ? 'GET' : 'POST' } = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { ...headers, ...(json !== undefined && { 'content-type': 'application/json' }) },
      ...(json !== undefined && { body: JSON.stringify(json) }),
    })
  const statuses: Shop['statuses'] = async (...asked) => {
    const all = []
    for (const one of asked) all.push((await ask(...one)).status)
    return all
  }
  return { app, redis: own.redis, ask, statuses }
}

const handler: RequestHandler = (_, res) => void res.send('content')

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)

test('login lockout, quota page and a button to unlock: only failed logins count', async () => {
  const { app, redis, ask } = await shop()
  const login: RequestHandler = (req, res) =>
    void res.status((req.body as { password: string }).password === 'right' ? 200 : 401).end()
  await run('Login lockout', { app, login })
  await run('A quota page, and a button to unlock', { app, redis })
  const attempt = async (password: string, email = 'ann') => (await ask('/login', { json: { email, password } })).status
  for (let turn = 0; turn < 8; turn += 1) expect(await attempt('right')).toBe(200)
  const wrong = await Promise.all(times(20, 'wrong').map((password) => attempt(password)))
  expect(wrong.filter((status) => status === 401)).toHaveLength(5)
  expect([await attempt('right'), await attempt('right', 'bob')]).toEqual([429, 200])
  expect(await (await ask('/quota/ann')).json()).toMatchObject([
    { name: 'minute', limit: 5, remaining: 0 },
    { name: 'hour', limit: 20, remaining: 15 },
  ])
  expect(await (await ask('/admin/unlock/ann', { method: 'POST' })).json()).toEqual({ unlocked: true })
  expect(await attempt('right')).toBe(200)
})

test('a tenant named in the body', async () => {
  const { app, statuses } = await shop()
  await run('A tenant named in the body', { app, handler })
  const order = (tenant: string): Parameters<Shop['ask']> => ['/orders', { json: { tenant } }]
  const all = await statuses(...times(100, order('one')), order('one'), order('two'))
  expect(all.slice(-3)).toEqual([200, 429, 200])
})

test('a cost that is known afterwards: the most is reserved, and the rest given back', async () => {
  const { redis } = await shop()
  type Complete = (user: string, ask: () => Promise<{ text: string; tokens: number }>) => Promise<string>
  const complete = (await run('A cost that is known afterwards', { redis }, 'complete')) as Complete
  const used = (tokens: number) => complete('ann', async () => ({ text: 'said', tokens }))
  for (let turn = 0; turn < 40; turn += 1) expect(await used(1000)).toBe('said')
  for (let turn = 0; turn < 15; turn += 1) await used(4000)
  await expect(used(1)).rejects.toThrow(/^quota used up, try again in \d/)
})

test('plans', async () => {
  const { app, ask, statuses } = await shop()
  await run('Plans', { app, handler })
  const of = (plan: string): Parameters<Shop['ask']> => ['/reports', { headers: { 'x-user': 'ann', 'x-plan': plan } }]
  expect((await statuses(...times(61, of('free')))).slice(-2)).toEqual([200, 429])
  const upgraded = await ask(...of('pro'))
  expect([upgraded.status, upgraded.headers.get('ratelimit')]).toEqual([200, expect.stringContaining('r=939')])
})

test('burst and sustained', async () => {
  const { app, ask } = await shop()
  await run('Burst and sustained', { app, search: handler })
  expect((await ask('/search')).headers.get('ratelimit-policy')).toBe('"second";q=20;w=1, "hour";q=1000;w=3600')
  const together = await Promise.all(times(40, '/search').map((path) => ask(path)))
  const refused = together.filter(({ status }) => status === 429)
  expect(refused.length).toBeGreaterThan(0)
  expect(await refused[0]?.json()).toMatchObject({ 'violated-policies': ['second'] })
})

test('workers and queues: a refused job is delayed by as long as it has to wait', async () => {
  const { redis } = await shop()
  const delays: number[] = []
  const queue = { delay: async (_: unknown, seconds: number) => void delays.push(seconds) }
  const work = (await run('Workers and queues', { redis, queue }, 'work')) as (job: object) => Promise<void>
  let done = 0
  for (let job = 0; job < 12; job += 1) await work({ customer: 'ann', run: async () => void (done += 1) })
  expect([done, delays.length, delays.every((seconds) => seconds > 50 && seconds <= 60.1)]).toEqual([10, 2, true])
})

test('a service that has a limit itself', async () => {
  const { redis } = await shop()
  const known = { redis }
  type Call = (call: () => Promise<string>) => Promise<string>
  const callPartner = (await run('A service that has a limit itself', known, 'callPartner')) as Call
  const all = await Promise.allSettled(times(30, 0).map(() => callPartner(async () => 'done')))
  expect(all.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(10)
  expect(all.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(10)
})

test('one budget over several routes', async () => {
  const { app, statuses } = await shop()
  await run('One budget over several routes', { app, handler })
  const all = await statuses(...times(15, ['/export'] as [string]), ...times(16, ['/statistics'] as [string]))
  expect(all.slice(-2)).toEqual([200, 429])
})

test('internal traffic', async () => {
  const { app, ask } = await shop()
  await run('Internal traffic', { app, process: { env: { INTERNAL_KEY: 'secret' } } })
  app.get('/', handler)
  const fields = async (key: string) =>
    (await ask('/', { headers: { 'x-internal-key': key } })).headers.has('ratelimit')
  expect([await fields('secret'), await fields('guess')]).toEqual([false, true])
})

test('tests: a clock that a test moves', async () => {
  await expect(run('Tests', { createRedis })).resolves.toBeUndefined()
})
