// A shop on Express: `npx tsx examples/express/server.ts`. HOST, PORT and REDIS_URL (default: the embedded store).
import { createRedis } from 'redwell'
import { buildApp } from './app.js'

const { HOST = '127.0.0.1', PORT = '3000', REDIS_URL = 'memory:' } = process.env

const redis = createRedis({ url: REDIS_URL })
const server = buildApp(redis).listen(Number(PORT), HOST, () => {
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : PORT
  console.log(`listening on http://${HOST}:${port}; try curl -i http://${HOST}:${port}/products/1 twice`)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.close(() => void redis.close())
    server.closeIdleConnections()
  })
}
