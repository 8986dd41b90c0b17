import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, expect } from 'vitest'
import { Client } from '../adapters/client.js'

/** Starting a process takes seconds where others compute at the same time. */
export const PATIENCE_MS = 60_000

const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** Starts an example as its users would, and waits until it says where it listens. */
async function start(folder: string, env: Record<string, string>): Promise<{ child: ChildProcess; client: Client }> {
  const path = fileURLToPath(new URL(`../../examples/${folder}/`, import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', `${path}server.ts`], {
    cwd: path,
    env: { ...process.env, PORT: '0', REDIS_URL: 'memory:', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  for await (const line of createInterface(child.stdout as NodeJS.ReadableStream)) {
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port !== undefined) return { child, client: new Client(Number(port)) }
  }
  throw new Error(`examples/${folder} ended before it listened`)
}

/** It caches, writes through, evicts by key, by list and by owner, reports its health, and stops on SIGTERM. */
export async function shopWorks(folder: string, env: Record<string, string>): Promise<void> {
  const { child, client } = await start(folder, env)
  const get = async (path: string) => {
    const { cache, status, text } = await client.get(path)
    return [status, cache, JSON.parse(text) as unknown]
  }
  const lamp = { id: '1', name: 'Lamp', owner: 'ann' }
  const chair = { id: '2', name: 'Chair', owner: 'bob' }
  expect(await get('/products/1')).toEqual([200, 'MISS', lamp])
  expect(await get('/products/1')).toEqual([200, 'HIT', lamp])
  expect(await get('/products')).toEqual([200, 'MISS', [lamp, chair]])
  expect(await get('/products/2')).toEqual([200, 'MISS', chair])
  expect((await get('/count'))[2]).toBe(2)

  const put = await client.ask('/products/1', { method: 'PUT', json: { name: 'Desk', owner: 'bob' } })
  const desk = { id: '1', name: 'Desk', owner: 'bob' }
  expect([put.status, JSON.parse(put.text)]).toEqual([200, desk])
  expect(await get('/products/1')).toEqual([200, 'HIT', desk])
  expect(await get('/products')).toEqual([200, 'MISS', [desk, chair]])

  expect((await client.ask('/owners/bob/products', { method: 'DELETE' })).status).toBe(204)
  for (const id of ['1', '2']) expect((await get(`/products/${id}`))[0]).toBe(404)
  expect(await get('/products')).toEqual([200, 'MISS', []])
  expect((await get('/count'))[2]).toBe(0)

  expect((await client.get('/health')).status).toBe(200)
  child.kill('SIGTERM')
  await once(child, 'exit')
}
