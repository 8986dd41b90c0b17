import { hitRow } from '../harness/hit-row.js'
import { cachedItems, handwrittenHit } from '../harness/hono.js'
import { LARGE_BYTES } from '../harness/items.js'

export default hitRow({
  id: 'B3-hono',
  what: 'Hono: hit from Redis, 50 KB, against GET and send by hand',
  ours: cachedItems(LARGE_BYTES),
  base: handwrittenHit(LARGE_BYTES),
  atLeast: 0.9,
})
