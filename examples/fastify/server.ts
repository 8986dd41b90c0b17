// npm start -- fastify. HOST, PORT and REDIS_URL (default: the embedded store).
import { Catalogue } from '../shop/catalogue.js'
import { buildApp } from './app.js'

const { HOST = '127.0.0.1', PORT = '3000', REDIS_URL = 'memory:' } = process.env

const app = await buildApp({ catalogue: new Catalogue(), redis: { url: REDIS_URL } })
console.log(`the shop is at ${await app.listen({ host: HOST, port: Number(PORT) })}`)

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())
