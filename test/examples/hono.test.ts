import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { Client } from '../adapters/client.js'

/** Starting a process takes seconds where others compute at the same time. */
const PATIENCE_MS = 60_000

const FOLDER = fileURLToPath(new URL('../../examples/hono/', import.meta.url))

const ANN = { authorization: 'Bearer token-of-ann' }
const BOB = { authorization: 'Bearer token-of-bob' }

let child: ChildProcess
let client: Client

beforeAll(async () => {
  child = spawn(process.execPath, ['--import', 'tsx', 'server.ts'], {
    cwd: FOLDER,
    env: { ...process.env, PORT: '0', REDIS_URL: inject('redisUrl'), REDIS_PREFIX: `test:library-${process.pid}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [string]
  client = new Client(Number(/:(\d+)\//.exec(line)?.[1]))
  await vi.waitFor(async () => {
    const { status } = await client.get('/health')
    if (status !== 200) throw new Error(`not healthy: ${status}`)
  }, PATIENCE_MS)
}, PATIENCE_MS)

afterAll(() => child.kill('SIGKILL'))

describe('the library', () => {
  test('a search is answered from the cache, whatever else its link says', async () => {
    const miss = await client.get('/books?author=lem')
    const hit = await client.get('/books?utm_source=mail&author=lem')
    expect([miss.cache, hit.cache, hit.text]).toEqual(['MISS', 'HIT', miss.text])
    const status = async () => (await client.get('/books?author=lem')).headers['cache-status']
    await expect.poll(status).toMatch(/^library; hit; ttl=/)
    expect((await client.get('/books?author=lem', { 'if-none-match': String(hit.headers['etag']) })).status).toBe(304)
  })

  test('a book that is saved is what the next reader gets, and the lists know it', async () => {
    await client.get('/books')
    await client.get('/count')
    const put = await client.ask('/books/fiasco', {
      method: 'PUT',
      headers: ANN,
      json: { title: 'Fiasco', author: 'lem' },
    })
    expect([put.status, put.cache]).toEqual([200, 'MISS'])
    expect(await client.get('/books/fiasco')).toMatchObject({ text: put.text, cache: 'HIT' })
    expect((await client.get('/books')).text).toContain('Fiasco')
    expect((await client.get('/count')).text).toBe('4')
    expect((await client.ask('/books/fiasco', { method: 'DELETE', headers: ANN })).status).toBe(204)
    expect((await client.get('/books/fiasco')).status).toBe(404)
    expect((await client.get('/count')).text).toBe('3')
  })

  test('who is not signed in changes nothing, whatever is cached', async () => {
    await client.get('/books/eden')
    expect((await client.ask('/books/eden', { method: 'DELETE' })).status).toBe(401)
    expect(await client.get('/books/eden')).toMatchObject({ status: 200, cache: 'HIT' })
    expect((await client.get('/me/loans')).status).toBe(401)
  })

  test('everybody sees the loans of nobody else', async () => {
    expect((await client.get('/me/loans', ANN)).text).toBe('[]')
    expect((await client.ask('/books/solaris/loan', { method: 'POST', headers: ANN })).status).toBe(204)
    for (const cache of ['MISS', 'HIT']) {
      expect(await client.get('/me/loans', ANN)).toMatchObject({ text: '["solaris"]', cache })
      expect(await client.get('/me/loans', BOB)).toMatchObject({ text: '[]', cache })
    }
    expect((await client.get('/me/loans', ANN)).headers['cache-control']).toMatch(/^private, max-age=/)
  })

  test('groups that only the handler knew are refreshed by name', async () => {
    for (const id of ['roadside', 'eden']) await client.get(`/books/${id}`)
    await client.ask('/authors/strugatsky/refresh', { method: 'POST', headers: BOB })
    expect([(await client.get('/books/roadside')).cache, (await client.get('/books/eden')).cache]).toEqual([
      'MISS',
      'HIT',
    ])
  })

  test('stops when it is told to', async () => {
    child.kill('SIGTERM')
    const [code] = (await once(child, 'exit')) as [number | null]
    expect(code).toBe(0)
  })
})
