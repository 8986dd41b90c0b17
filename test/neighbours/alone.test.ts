import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { alone, tried } from './suite.js'

describe('next to each of these every response is as without the cache', () => {
  alone()
})

test('docs/compatibility.md lists what is tried here', () => {
  const page = readFileSync(new URL('../../docs/compatibility.md', import.meta.url), 'utf8')
  const [, list] = /<!-- neighbours -->\n\n([^]*?)\n\n<!-- \/neighbours -->/.exec(page) ?? []
  expect(list).toBe(tried())
})
