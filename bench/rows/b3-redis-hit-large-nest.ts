import { cachedItems, handwrittenHit } from '../harness/nest.js'
import { hitRow } from '../harness/hit-row.js'
import { LARGE_BYTES } from '../harness/items.js'

export default hitRow({
  id: 'B3-nest',
  what: 'Nest on Express: hit from Redis, 50 KB, against GET and send by hand',
  ours: cachedItems('express', LARGE_BYTES),
  base: handwrittenHit('express', LARGE_BYTES),
  atLeast: 0.9,
})
