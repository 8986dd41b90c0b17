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

/** It caches, ignores the parameter of a campaign, and ends of its own accord on SIGTERM. */
export async function shopRuns(folder: string, path: string, env: Record<string, string> = {}): Promise<void> {
  const { child, client } = await start(folder, env)
  for (const [query, expected] of [
    ['', 'MISS'],
    ['', 'HIT'],
    ['?utm_source=mail', 'HIT'],
  ] as const) {
    const { status, cache, text } = await client.get(`${path}${query}`)
    expect([status, cache]).toEqual([200, expected])
    expect(JSON.parse(text)).toHaveLength(3)
  }
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
}
