import { hitRow } from '../harness/hit-row.js'
import { SMALL_BYTES } from '../harness/items.js'
import { cachedItems, handwrittenHit } from '../harness/variants.js'

export default hitRow({
  id: 'B2',
  what: 'hit from Redis, 2 KB, against GET and send by hand',
  ours: cachedItems(SMALL_BYTES),
  base: handwrittenHit(SMALL_BYTES),
  atLeast: 0.9,
  paced: true,
  short: true,
})
