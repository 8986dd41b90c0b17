import { cachedItems, handwrittenHit } from '../harness/nest.js'
import { hitRow } from '../harness/hit-row.js'
import { SMALL_BYTES } from '../harness/items.js'

export default hitRow({
  id: 'B2-nest',
  what: 'Nest on Express: hit from Redis, 2 KB, against GET and send by hand',
  ours: cachedItems('express', SMALL_BYTES),
  base: handwrittenHit('express', SMALL_BYTES),
  atLeast: 0.9,
  paced: true,
})
