import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, test } from 'vitest'

const FOLDER = fileURLToPath(new URL('../../examples/reverse-proxy/', import.meta.url))

describe.concurrent.each(['server.ts', 'hono.ts'])('examples/reverse-proxy/%s', (file) => {
  test.for([
    ['PORT', 'http'],
    ['PRESET', 'fast'],
    ['UPSTREAM_URL', 'nowhere'],
  ] as const)('refuses %s=%s at start', { timeout: 60_000 }, async ([name, value], { expect, onTestFinished }) => {
    const child = spawn(process.execPath, ['--import', 'tsx', FOLDER + file], {
      env: { ...process.env, TSX_TSCONFIG_PATH: `${FOLDER}tsconfig.json`, PORT: '0', [name]: value },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const [stderr, [code]] = await Promise.all([buffer(child.stderr), once(child, 'exit')])
    expect(code).not.toBe(0)
    expect(stderr.toString()).toContain(value)
  })
})
