import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, everyItem, fill, get, itemPath, SMALL_BYTES } from '../harness/items.js'
import type { Outcome, Row } from '../harness/row.js'
import { cachedItems } from '../harness/variants.js'

function etagOf(head: string): string {
  const etag = /^etag: (.*)$/im.exec(head)?.[1]
  if (etag === undefined) throw new Error(`an answer without ETag:\n${head}`)
  return etag.trim()
}

async function against(bench: Bench, name: 'redis' | 'memory'): Promise<Outcome> {
  const variant = await bench.start(name)
  await fill(bench, variant)
  const heads = await bench.heads(variant, everyItem)
  const conditional = heads.map((head, n) => get(itemPath(n), { 'if-none-match': etagOf(head) }))
  const whole = await bench.prepare(variant, { requests: everyItem })
  const unchanged = await bench.prepare(variant, { requests: conditional })
  const samples = await interleave(bench, {
    ours: () => checkedSample(bench, variant, unchanged, { status: 304, hits: true }),
    base: () => checkedSample(bench, variant, whole, { hits: true }),
  })
  const what = `304 from ${name === 'redis' ? 'Redis' : 'memory'} against the 200, 2 KB`
  return compared({ id: 'B5', what, ours: samples.ours, base: samples.base, atLeast: 1 })
}

export default {
  id: 'B5',
  subjects: { redis: cachedItems(SMALL_BYTES), memory: cachedItems(SMALL_BYTES, 'memory:') },
  async run(bench: Bench) {
    return [await against(bench, 'redis'), await against(bench, 'memory')]
  },
} satisfies Row
