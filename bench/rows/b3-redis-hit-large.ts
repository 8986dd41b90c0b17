import { hitRow } from '../harness/hit-row.js'
import { LARGE_BYTES } from '../harness/items.js'
import { cachedItems, handwrittenHit } from '../harness/variants.js'

export default hitRow({
  id: 'B3',
  what: 'hit from Redis, 50 KB, against GET and send by hand',
  ours: cachedItems(LARGE_BYTES),
  base: handwrittenHit(LARGE_BYTES),
  atLeast: 0.9,
})
