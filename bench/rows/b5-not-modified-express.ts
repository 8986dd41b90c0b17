import { cachedItems } from '../harness/express.js'
import { SMALL_BYTES } from '../harness/items.js'
import { notModifiedRow } from '../harness/not-modified-row.js'

export default notModifiedRow('B5-express', {
  redis: cachedItems(SMALL_BYTES),
  memory: cachedItems(SMALL_BYTES, 'memory:'),
})
