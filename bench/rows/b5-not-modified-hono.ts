import { cachedItems } from '../harness/hono.js'
import { SMALL_BYTES } from '../harness/items.js'
import { notModifiedRow } from '../harness/not-modified-row.js'

export default notModifiedRow('B5-hono', {
  redis: cachedItems(SMALL_BYTES),
  memory: cachedItems(SMALL_BYTES, 'memory:'),
})
