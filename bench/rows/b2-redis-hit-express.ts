import { cachedItems, handwrittenHit } from '../harness/express.js'
import { hitRow } from '../harness/hit-row.js'
import { SMALL_BYTES } from '../harness/items.js'

export default hitRow({
  id: 'B2-express',
  what: 'Express: hit from Redis, 2 KB, against GET and send by hand',
  ours: cachedItems(SMALL_BYTES),
  base: handwrittenHit(SMALL_BYTES),
  atLeast: 0.9,
  paced: true,
})
