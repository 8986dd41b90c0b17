import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'

const SCRIPT = new URL('accounting.ts', import.meta.url).pathname

interface Accounted {
  readonly counted: number
  readonly took: number
  readonly scanned: readonly number[]
  readonly maxBytes: number
}

/** A process of its own, which can collect garbage before it looks. */
function accounted(where: string, state: string): Accounted {
  const args = ['--expose-gc', '--import', 'tsx', SCRIPT, where, state]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Accounted
}

describe.each(['memory', 'near'])('64 MiB of entries of 2 KB in the store: %s', (where) => {
  test.each(['cold', 'hot'])('take what is counted, within a tenth: %s', (state) => {
    const { counted, took, maxBytes } = accounted(where, state)
    expect(counted).toBeLessThanOrEqual(maxBytes)
    expect(counted).toBeGreaterThan(maxBytes * 0.9)
    expect(took / counted).toBeGreaterThan(0.9)
    expect(took / counted).toBeLessThan(1.1)
  })
})

test('ten million keys that are asked for once leave the memory of a near cache flat', { timeout: 180_000 }, () => {
  const { counted, scanned, maxBytes } = accounted('near', 'scan')
  expect(counted).toBeLessThanOrEqual(maxBytes)
  for (const bytes of scanned) expect(bytes).toBeLessThan(maxBytes * 1.1)
})
