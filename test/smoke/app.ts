// Compiled and run by scripts/smoke.mjs in a project that has only the packed redwell and Fastify.
import assert from 'node:assert/strict'
import Fastify from 'fastify'
import redwell from 'redwell/fastify'

const app = Fastify()
await app.register(redwell, { url: 'memory:' })

let runs = 0
app.get('/x', { config: { cache: { ttl: '1m', group: 'x' } } }, async () => {
  runs += 1
  return { runs, text: 'Grüße, 世界' }
})
app.delete('/x', { config: { cacheEvict: { group: 'x' } } }, async (_request, reply) => reply.code(204).send())

const ask = (method: 'GET' | 'DELETE' = 'GET') => app.inject({ method, url: '/x' })

const miss = await ask()
const hit = await ask()
assert.equal(miss.headers['x-redis-cache'], 'MISS')
assert.equal(hit.headers['x-redis-cache'], 'HIT')
assert.equal(hit.statusCode, miss.statusCode)
assert.equal(hit.headers['content-type'], miss.headers['content-type'])
assert.deepEqual(hit.rawPayload, miss.rawPayload)
assert.equal(runs, 1)

await ask('DELETE')
assert.equal((await ask()).headers['x-redis-cache'], 'MISS')

await app.close()
