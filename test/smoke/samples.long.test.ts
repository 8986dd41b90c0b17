import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { check, pages, samplesOf } from '../../scripts/samples.mjs'

const ROOT = join(import.meta.dirname, '../..')

test('every sample of README and docs compiles against the package, and programs answer as their page says', async () => {
  const samples = pages().flatMap((page) => samplesOf(page, readFileSync(join(ROOT, page), 'utf8')))
  expect(samples.length).toBeGreaterThan(90)
  expect(await check(samples)).toEqual([])
}, 60_000)

describe('the check itself', () => {
  test('a fault has the page and the line of the block, and a context lends its names', async () => {
    const page = '# Page\n\n<!-- samples: fastify -->\n\n```ts\napp.get(1)\nconst a: string = 2\n```\n'
    const faults = await check(samplesOf('page.md', page))
    expect(faults.map((fault) => fault.split(': ')[0])).toEqual(['page.md:6:5', 'page.md:7:7'])
  })

  test('a program that answers otherwise is a fault', async () => {
    const program =
      "import { createServer } from 'node:http'\ncreateServer((_, response) => response.end('no')).listen(3000)"
    const page = ['<!-- sample: run', 'GET / -> 200 no', 'GET / -> 201', '-->', '', '```ts', program, '```', ''].join(
      '\n',
    )
    expect(await check(samplesOf('page.md', page))).toEqual(['page.md:7: GET / -> 201: was 200 (no X-Redis-Cache) no'])
  })
})
