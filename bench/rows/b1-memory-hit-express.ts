import { cachedItems, prebuilt } from '../harness/express.js'
import { hitRow } from '../harness/hit-row.js'
import { SMALL_BYTES } from '../harness/items.js'

export default hitRow({
  id: 'B1-express',
  what: 'Express: hit from memory, 2 KB, against a prebuilt buffer',
  ours: cachedItems(SMALL_BYTES, 'memory:'),
  base: prebuilt(SMALL_BYTES),
  atLeast: 0.95,
  paced: true,
  short: true,
})
