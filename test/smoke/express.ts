// Compiled and run by scripts/smoke.mjs in a project that has only the packed redwell and Express.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { cache, cacheEvict, cacheGroups, redwell } from 'redwell/express'

const app = express()
const cached = redwell({ url: 'memory:' })
app.use(cached)

let runs = 0
app.get('/x/:id', cache({ ttl: '1m', group: 'x' }), (req, res) => {
  const id: string = req.params.id
  runs += 1
  cacheGroups(res, `x:${id}`)
  res.json({ id, runs, text: 'Grüße, 世界' })
})
app.delete('/x/:id', cacheEvict({ group: 'x' }), (_req, res) => void res.status(204).end())
app.get('/locals', (_req, res) => void res.send(res.locals.redis.status))

const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const ask = async (path: string, method = 'GET') => {
  const response = await fetch(url + path, { method })
  return { cache: response.headers.get('x-redis-cache'), text: await response.text() }
}

const miss = await ask('/x/1')
assert.equal(miss.cache, 'MISS')
assert.deepEqual(await ask('/x/1'), { ...miss, cache: 'HIT' })
assert.equal(runs, 1)
await ask('/x/1', 'DELETE')
assert.equal((await ask('/x/1')).cache, 'MISS')
assert.equal((await ask('/locals')).text, 'ready')

server.close()
server.closeAllConnections()
await cached.close()
