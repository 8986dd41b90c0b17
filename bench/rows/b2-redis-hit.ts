import { redisHitRow } from '../harness/redis-hit.js'
import { SMALL_BYTES } from '../harness/items.js'

export default redisHitRow({ id: 'B2', what: 'hit from Redis, 2 KB, against GET and send by hand', bytes: SMALL_BYTES })
