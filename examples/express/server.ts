// npm start -- express. HOST, PORT and REDIS_URL (default: the embedded store).
import { redwell } from 'redwell/express'
import { Catalogue } from '../shop/catalogue.js'
import { buildApp } from './app.js'

const { HOST = '127.0.0.1', PORT = '3000', REDIS_URL = 'memory:' } = process.env

const connected = redwell({ url: REDIS_URL })
const server = buildApp(new Catalogue(), connected).listen(Number(PORT), HOST, () => {
  const address = server.address()
  console.log(`the shop is at http://${HOST}:${typeof address === 'object' ? address?.port : PORT}`)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.close(() => void connected.close())
    server.closeIdleConnections()
  })
}
