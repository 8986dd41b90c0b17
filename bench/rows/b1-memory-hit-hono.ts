import { hitRow } from '../harness/hit-row.js'
import { cachedItems, prebuilt } from '../harness/hono.js'
import { SMALL_BYTES } from '../harness/items.js'

export default hitRow({
  id: 'B1-hono',
  what: 'Hono: hit from memory, 2 KB, against a prebuilt buffer',
  ours: cachedItems(SMALL_BYTES, 'memory:'),
  base: prebuilt(SMALL_BYTES),
  atLeast: 0.95,
  paced: true,
  short: true,
})
