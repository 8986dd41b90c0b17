import { SMALL_BYTES } from '../harness/items.js'
import { notModifiedRow } from '../harness/not-modified-row.js'
import { cachedItems } from '../harness/variants.js'

export default notModifiedRow('B5', { redis: cachedItems(SMALL_BYTES), memory: cachedItems(SMALL_BYTES, 'memory:') })
