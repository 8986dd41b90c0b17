import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { dashboard } from '../../src/dashboard/index.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { buildShop } from './shop.js'

const ROOT = join(import.meta.dirname, '../..')
const prefix = `outage-${randomUUID().slice(0, 8)}`

let server: RedisServer
let app: FastifyInstance
let origin: string
let requests = 0

beforeAll(async () => {
  server = await startRedis()
  app = await buildShop({ url: server.url, prefix, logger: silentLogger, commandTimeout: '5s' })
  await app.register(dashboard(app.redis, { guard: () => true }).fastify, { prefix: '/ops' })
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
  await app.redis.connect()
})
afterAll(async () => {
  await app?.close()
  await server?.close()
})

/** Requests of products that were never asked for, one after another, for as long as the test runs. */
function traffic(): void {
  const timer = setInterval(() => void app.inject(`/products/${(requests += 1)}`), 50)
  onTestFinished(() => clearInterval(timer))
}

/** What a stream has said; `wait` returns when it says something that matches, after what was waited for before. */
function listen(stream: AsyncIterable<Uint8Array>): { wait(pattern: RegExp): Promise<void> } {
  let text = ''
  let heard = (): void => {}
  const reading = (async () => {
    for await (const part of stream) {
      text += Buffer.from(part).toString()
      heard()
    }
  })()
  reading.catch(() => {})
  const wait = async (pattern: RegExp): Promise<void> => {
    for (let found = pattern.exec(text); ; found = pattern.exec(text)) {
      if (found !== null) {
        text = text.slice(found.index + found[0].length)
        return
      }
      await new Promise<void>((resolve) => (heard = resolve))
    }
  }
  return { wait }
}

/** A product that is asked for from now on: what was on its way before does not count. */
function later(): RegExp {
  const from = requests
  return {
    exec: (text: string) => [...text.matchAll(/\/products\/(\d+)\D/g)].find(([, id]) => Number(id) > from) ?? null,
  } as RegExp
}

test.each([[[] as string[]], [['--json']]])(
  'watch %j goes on when Redis was killed and is back',
  async (more) => {
    const args = ['--import', 'tsx', join(ROOT, 'src/cli/main.ts'), 'watch', '--url', server.url, '--prefix', prefix]
    const child = spawn(process.execPath, [...args, ...more], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    const [said, complaints] = [listen(child.stdout), listen(child.stderr)]
    traffic()
    await said.wait(/\/products\/\d+/)
    for (const leave of [() => server.kill(), async () => server.pause()]) {
      await leave()
      await complaints.wait(/Redis does not answer; waiting for it\.\n/)
      const news = later()
      if (server.pid === undefined) await server.start()
      else server.resume()
      await complaints.wait(/^Redis answers again\.\n/)
      await said.wait(news)
    }
    child.kill('SIGINT')
    expect(await once(child, 'exit')).toEqual([0, null])
  },
  90_000,
)

test('a page that is open hears that Redis is away, and then what happens in it again', async () => {
  const stopped = new AbortController()
  onTestFinished(() => stopped.abort())
  const { body } = await fetch(`${origin}/ops/api/live`, { signal: stopped.signal })
  if (body === null) throw new Error('no stream')
  const said = listen(body)
  traffic()
  await said.wait(/event: state\ndata: .*\/products\/\d+/)
  for (const leave of [() => server.kill(), async () => server.pause()]) {
    await leave()
    await said.wait(/event: away\ndata: .*\n/)
    const news = later()
    if (server.pid === undefined) await server.start()
    else server.resume()
    await said.wait(/event: state\n/)
    await said.wait(news)
  }
}, 90_000)
