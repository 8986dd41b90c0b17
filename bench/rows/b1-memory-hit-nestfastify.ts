import { cachedItems, prebuilt } from '../harness/nest.js'
import { hitRow } from '../harness/hit-row.js'
import { SMALL_BYTES } from '../harness/items.js'

export default hitRow({
  id: 'B1-nestfastify',
  what: 'Nest on Fastify: hit from memory, 2 KB, against a prebuilt buffer',
  ours: cachedItems('fastify', SMALL_BYTES, 'memory:'),
  base: prebuilt('fastify', SMALL_BYTES),
  atLeast: 0.9,
  paced: true,
  short: true,
})
