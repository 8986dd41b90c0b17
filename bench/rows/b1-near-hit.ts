import { hitRow } from '../harness/hit-row.js'
import { SMALL_BYTES } from '../harness/items.js'
import { cachedItems, prebuilt } from '../harness/variants.js'

export default hitRow({
  id: 'B1-near',
  what: 'hit from the near cache, 2 KB, against a prebuilt buffer',
  ours: cachedItems(SMALL_BYTES, undefined, false, { near: { maxBytes: 64 * 1024 * 1024 } }),
  base: prebuilt(SMALL_BYTES),
  atLeast: 0.95,
})
