import type { Bench } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { get, itemBytes, SMALL_BYTES } from '../harness/items.js'
import type { Row, Subject } from '../harness/row.js'
import { withRedwell } from '../harness/variants.js'

const AT_MOST_BYTES = 400

const body = itemBytes('1', SMALL_BYTES)

/** Eight header lines, as an API that is asked for its best would send them. */
const HEADERS = {
  'content-type': 'application/json; charset=utf-8',
  'content-language': 'en-GB',
  'last-modified': 'Tue, 18 Nov 2025 09:30:00 GMT',
  // Not Vary, which makes a second key.
  'content-location': '/items/1',
  link: '</schemas/item>; rel="describedby"',
  'x-content-type-options': 'nosniff',
  'x-request-cost': '12',
  etag: '"b7e23ec29af22b0b4e41da31e868d572"',
}

const redwell: Subject = ({ redisUrl }) =>
  withRedwell(redisUrl, (app) => {
    app.get('/item', { config: { cache: { ttl: '5m', group: 'products' } } }, async (_request, reply) =>
      reply.headers(HEADERS).send(body),
    )
  })

export default {
  id: 'B12',
  short: true,
  subjects: { redwell },
  async run(bench: Bench) {
    const variant = await bench.start('redwell')
    const heads = await bench.heads(variant, [get('/item'), get('/item')])
    if (!/x-redis-cache: HIT/i.test(heads[1] ?? '')) throw new Error('the entry was not stored')
    const client = await tunedClient(bench.redis.url)
    const sizes: number[] = []
    for await (const keys of client.scanIterator({ MATCH: '*:entry:*' })) {
      for (const key of keys) sizes.push(await client.strLen(String(key)))
    }
    client.destroy()
    const [size] = sizes
    if (size === undefined || sizes.length > 1) throw new Error(`expected one entry in Redis, found ${sizes.length}`)
    const overhead = size - body.length
    if (overhead <= 0) throw new Error(`an entry of ${size} bytes cannot hold a body of ${body.length}`)
    return [
      {
        id: 'B12',
        what: 'bytes in Redis over the body, entry with 8 headers and one group',
        figures: `${overhead} bytes`,
        target: `<= ${AT_MOST_BYTES} bytes`,
        met: overhead <= AT_MOST_BYTES ? 'yes' : 'no',
      },
    ]
  },
} satisfies Row
