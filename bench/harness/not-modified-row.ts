import type { Bench } from './bench.js'
import { compared, interleave } from './compare.js'
import { checkedSample, everyItem, fill, get, itemPath } from './items.js'
import type { Outcome, Row, Subject } from './row.js'

/** Row B5: a 304 against the 200 of the same. */
export function notModifiedRow(id: string, subjects: { readonly redis: Subject; readonly memory: Subject }): Row {
  return {
    id,
    subjects,
    run: async (bench) => [await against(bench, id, 'redis'), await against(bench, id, 'memory')],
  }
}

async function against(bench: Bench, id: string, name: 'redis' | 'memory'): Promise<Outcome> {
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
  return compared({ id, what, ours: samples.ours, base: samples.base, atLeast: 1 })
}

function etagOf(head: string): string {
  const etag = /^etag: (.*)$/im.exec(head)?.[1]
  if (etag === undefined) throw new Error(`an answer without ETag:\n${head}`)
  return etag.trim()
}
