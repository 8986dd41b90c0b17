// Compiled and run by scripts/smoke.mjs in a project that has only the packed redwell and Hono.
import assert from 'node:assert/strict'
import { Hono } from 'hono'
import { cache, cacheEvict, redwell } from 'redwell/hono'

await using connected = redwell({ url: 'memory:' })
const app = new Hono()
app.use(connected)

let runs = 0
app.get('/x/:id', cache({ ttl: '1m', group: 'x' }), (c) => {
  runs += 1
  const id: string = c.req.param('id')
  return c.json({ id, runs, text: 'Grüße, 世界' })
})
app.get('/count', async (c) => {
  // Typed by the package alone, on any context.
  const count: number = await c.var.cache.getOrSet('count', () => 1, { ttl: '1m' })
  const { status }: { status: string } = c.var.redis
  return c.json({ count, status })
})
app.delete('/x/:id', cacheEvict({ group: 'x' }), (c) => c.body(null, 204))

async function ask(method: 'GET' | 'DELETE' = 'GET') {
  const answer = await app.request('/x/1', { method })
  return {
    cache: answer.headers.get('x-redis-cache'),
    type: answer.headers.get('content-type'),
    text: await answer.text(),
  }
}

const miss = await ask()
const hit = await ask()
assert.equal(miss.cache, 'MISS')
assert.deepEqual(hit, { ...miss, cache: 'HIT' })
assert.equal(runs, 1)

await ask('DELETE')
assert.equal((await ask()).cache, 'MISS')

assert.deepEqual(await (await app.request('/count')).json(), { count: 1, status: connected.redis.status })
