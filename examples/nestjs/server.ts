// npm start -- nestjs. HOST, PORT, REDIS_URL (default: the embedded store), and PLATFORM, `express` or `fastify`.
import { Catalogue } from '../shop/catalogue.js'
import { buildApp } from './app.js'

const { HOST = '127.0.0.1', PORT = '3000', REDIS_URL = 'memory:', PLATFORM = 'express' } = process.env

const app = await buildApp({
  catalogue: new Catalogue(),
  redis: { url: REDIS_URL },
  platform: PLATFORM === 'fastify' ? 'fastify' : 'express',
})
// On SIGTERM the server is closed, then the connection, and the process ends with 0.
app.enableShutdownHooks([], { useProcessExit: true })
await app.listen(Number(PORT), HOST)
console.log(`the shop is at ${await app.getUrl()}`)
