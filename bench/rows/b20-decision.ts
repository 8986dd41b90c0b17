import Fastify from 'fastify'
import type { RequestContext } from '../../src/route/request.js'
import type { CacheOptions } from '../../src/route/options.js'
import type { Bench } from '../harness/bench.js'
import { figures, interleave } from '../harness/compare.js'
import { checkedSample, everyItem, ITEM_COUNT, itemBytes, itemPath, SMALL_BYTES } from '../harness/items.js'
import { loop } from '../harness/loop.js'
import { listen, type Row, type Running, type Subject } from '../harness/row.js'
import { median } from '../harness/stats.js'

const AT_MOST_US = 15

type Fields = Readonly<Record<string, string>>

/** What browsers send, of which the cache looks at some. */
const COMMON: Fields = {
  host: 'shop.example',
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'accept-encoding': 'gzip, deflate, br',
  'accept-language': 'en-GB,en;q=0.7,de;q=0.3',
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
}

/** Nothing but the decision: the request is there already, and its entry is in the memory of the process. */
function decisions(options: CacheOptions<unknown>, headers: Fields): Subject {
  return async (): Promise<Running> => {
    const [{ createRedis }, { routesOf }] = await Promise.all([
      import('../../src/create-redis.js'),
      import('../../src/adapters/declarations.js'),
    ])
    const routes = routesOf(createRedis({ url: 'memory:' }))
    const traits = { path: {}, stripsHead: true }
    const cache = routes.cache('GET /items/:id', { where: 'cache', options }, traits)
    const fields = { ...COMMON, ...headers }
    const request = (n: number): RequestContext<unknown> => ({
      method: 'GET',
      target: itemPath(n % ITEM_COUNT),
      origin: 'http://shop.example',
      native: undefined,
      header: (name) => fields[name],
    })
    const head = { status: 200, headers: ['content-type', 'application/json', 'etag', '"a"'] }
    for (let n = 0; n < ITEM_COUNT; n++) {
      const lookup = await cache.lookup(request(n))
      if (lookup.outcome !== 'hit') await lookup.run.finish(head, itemBytes(String(n), SMALL_BYTES))
      await cache.settled()
    }
    return loop(async (n) => {
      const lookup = cache.lookup(request(n))
      const { outcome } = lookup instanceof Promise ? await lookup : lookup
      if (outcome !== 'hit') throw new Error(`expected a hit, not a ${outcome}`)
    })
  }
}

const KINDS = {
  plain: 'a plain GET',
  conditional: 'Cache-Control and If-None-Match in the request',
  negotiated: 'a variant by Accept-Language and Accept-Encoding',
} as const

const empty: Subject = () => {
  const app = Fastify()
  app.get('/items/:id', (_request, reply) => reply.send())
  return listen(app)
}

export default {
  id: 'B20',
  subjects: {
    plain: decisions({ ttl: '1h' }, {}),
    conditional: decisions({ ttl: '1h' }, { 'cache-control': 'max-age=600', 'if-none-match': '"x", W/"a"' }),
    negotiated: decisions({ ttl: '1h', vary: ['accept-language', 'accept-encoding'] }, {}),
    empty,
  },
  async run(bench: Bench) {
    const handler = await bench.start('empty')
    const requests = await bench.prepare(handler, { requests: everyItem })
    const outcomes = []
    for (const kind of ['plain', 'conditional', 'negotiated'] as const) {
      const variant = await bench.start(kind)
      const samples = await interleave(bench, {
        ours: () => bench.loopSample(variant),
        base: () => checkedSample(bench, handler, requests),
      })
      const us = median(samples.ours.map(({ cpuUs }) => cpuUs))
      const ratio = us / median(samples.base.map(({ cpuUs }) => cpuUs))
      outcomes.push({
        id: 'B20',
        what: `decision for a hit (key, freshness, fields), ${KINDS[kind]}, against a request of Fastify's empty handler`,
        figures: `${us.toFixed(2)} µs, ${ratio.toFixed(2)} x; empty handler ${figures(samples.base)}`,
        target: `< ${AT_MOST_US} µs`,
        met: us < AT_MOST_US ? ('yes' as const) : ('no' as const),
      })
    }
    return outcomes
  },
} satisfies Row
