import { randomUUID } from 'node:crypto'
import { Writable } from 'node:stream'
import Fastify from 'fastify'
import { expect, onTestFinished, test, vi } from 'vitest'
import redwell from '../../src/adapters/fastify/index.js'
import { run } from '../../src/cli/program.js'
import { otel } from '../../src/telemetry/otel/index.js'
import { sharedRedis } from '../support/redis-server.js'
import { Sdk } from '../telemetry/sdk.js'
import { secretOf, Traces } from './traces.js'

/** What a command of the CLI prints. */
async function printed(args: readonly string[]): Promise<string> {
  const said: string[] = []
  const spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation((text) => said.push(String(text)) > 0),
  )
  try {
    await run(args)
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
  return said.join('')
}

test('no id is in spans, metrics, logs, events, errors, keys, values, cached responses or the output of the CLI', async () => {
  const made = new Traces()
  made.begin()
  onTestFinished(() => made.end())
  const sdk = new Sdk()
  await sdk.reset()
  onTestFinished(() => sdk.shutdown())
  const { url } = await sharedRedis()
  const prefix = `ids-${randomUUID().slice(0, 8)}`
  made.prefixes.push(prefix)
  const log = new Writable({
    write(chunk: Buffer, _, done) {
      made.say(String(chunk))
      done()
    },
  })
  const app = Fastify({ logger: { level: 'trace', stream: log } })
  onTestFinished(() => app.close())
  const sessions = { describe: () => 'Firefox', maxPerSubject: 2 }
  await app.register(redwell, { url, prefix, connect: true, commandTimeout: 5, logger: made.logger, sessions })
  const watching = otel({ keys: true, groups: true })
  onTestFinished(() => watching.stop())
  app.post<{ Querystring: { user: string; status?: string } }>('/login', async ({ session, query }, reply) => {
    session.data.userId = query.user
    return reply.code(Number(query.status ?? 200)).send('in')
  })
  app.post('/write', async ({ session }) => {
    session.data.count = (session.data.count ?? 0) + 1
    return 'written'
  })
  app.post('/break', async ({ session }) => {
    session.data.anything = new Map()
    return 'x'
  })
  app.post('/rotate', async ({ session }) => {
    session.rotate()
    return 'rotated'
  })
  app.post('/logout', async ({ session }) => {
    await session.end()
    return 'out'
  })
  app.get('/page', { config: { cache: { ttl: 60 } } }, async () => 'page')
  app.get('/home', { config: { cache: { ttl: 60, per: true } } }, async ({ session }) => `home of ${session.subject}`)
  app.get('/account', { config: { session: 'required', rateLimit: '100/minute' } }, async () => 'account')

  const visitor = () => {
    let cookie = ''
    return async (method: 'GET' | 'POST', path: string, own = cookie) => {
      const reply = await app.inject({ method, url: path, headers: { cookie: own } })
      made.say(reply.body, Object.fromEntries(Object.entries(reply.headers).filter(([name]) => name !== 'set-cookie')))
      const [pair] = String(reply.headers['set-cookie'] ?? '').split(';')
      if (pair !== undefined && pair !== '' && !pair.endsWith('=')) made.issued.add((cookie = pair))
      return [reply.statusCode, own] as const
    }
  }
  const [one, two, three] = [visitor(), visitor(), visitor()]
  await one('POST', '/write')
  const [, before] = await one('GET', '/page')
  for (const visit of [one, two, three]) await visit('POST', '/login?user=ann')
  const [, rotated] = await three('POST', '/rotate')
  for (const visit of [two, three])
    for (const path of ['/page', '/home', '/home', '/account', '/none']) await visit('GET', path)
  const refused = []
  for (const old of [before, rotated]) refused.push((await one('POST', '/write', old))[0])
  expect(refused).toContain(409)
  expect((await three('POST', '/break'))[0]).toBe(500)
  expect((await two('POST', '/login?user=bob&status=500'))[0]).toBe(500)
  made.say(await app.sessions.list('ann'), app.redis.cache.stats(), app.redis.settings)
  await app.sessions.revoke('ann', (await app.sessions.list('ann'))[0]?.handle ?? '')
  await three('POST', '/logout')
  await app.sessions.revokeAll('ann')
  const here = ['--url', url, '--prefix', prefix]
  for (const args of [['keys'], ['groups'], ['stats'], ['limits'], ['show', '/page', '--body']])
    made.say(await printed([...args, ...here]))
  made.say(await printed(['explain', 'get', '/home', '--header', `Cookie: ${[...made.issued].at(-1)}`, ...here]))
  const spans = sdk.spans.map(({ name, attributes, events, status }) => ({ name, attributes, events, status }))
  made.say(
    spans,
    Array.from(await sdk.metrics(), ([name, points]) => [name, points]),
  )

  const { text, keys } = await made.everything(app.redis)
  expect(made.issued.size).toBeGreaterThan(5)
  expect(keys).toBeGreaterThan(5)
  for (const cookie of made.issued) expect(text).not.toContain(secretOf(cookie))
  // Everything was looked at: a span, a metric, an event, a log line, an error, the CLI, an entry, a session.
  for (const sign of [
    /redwell\.session/,
    /operation: 'load'/,
    /"reqId"/,
    /SessionError|session/,
    /KEY +KIND/,
    new RegExp(`${prefix}:entry:/page`),
    new RegExp(`${prefix}:session:`),
    new RegExp(`${prefix}:subject:`),
  ])
    expect(text).toMatch(sign)
})
