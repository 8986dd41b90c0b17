import { LARGE_BYTES } from '../harness/items.js'
import { redisHitRow } from '../harness/redis-hit.js'

export default redisHitRow({
  id: 'B3',
  what: 'hit from Redis, 50 KB, against GET and send by hand',
  bytes: LARGE_BYTES,
})
