// npm start -- hono. HOST, PORT and REDIS_URL (default: the embedded store).
import { once } from 'node:events'
import { serve } from '@hono/node-server'
import { redwell } from 'redwell/hono'
import { Catalogue } from '../shop/catalogue.js'
import { signedIn } from './account.js'
import { buildApp } from './app.js'

const { HOST = '127.0.0.1', PORT = '3000', REDIS_URL = 'memory:' } = process.env

await using connected = redwell({ url: REDIS_URL, principal: signedIn })

const app = buildApp(new Catalogue(), connected)
const server = serve({ fetch: app.fetch, hostname: HOST, port: Number(PORT) }, ({ port }) =>
  console.log(`the shop is at http://${HOST}:${port}`),
)

await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
server.close()
await once(server, 'close')
