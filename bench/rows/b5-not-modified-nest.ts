import { cachedItems } from '../harness/nest.js'
import { SMALL_BYTES } from '../harness/items.js'
import { notModifiedRow } from '../harness/not-modified-row.js'

export default notModifiedRow('B5-nest', {
  redis: cachedItems('express', SMALL_BYTES),
  memory: cachedItems('express', SMALL_BYTES, 'memory:'),
})
