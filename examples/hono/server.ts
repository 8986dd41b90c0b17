// npx tsx --tsconfig examples/hono/tsconfig.json examples/hono/server.ts
import { once } from 'node:events'
import { serve } from '@hono/node-server'
import { redwell } from 'redwell/hono'
import { buildApp } from './app.js'
import { Library } from './library.js'

// On a real Redis with REDIS_URL=redis://localhost:6379.
await using connected = redwell({ url: process.env['REDIS_URL'] ?? 'memory:', defaults: { cacheStatus: 'library' } })

const app = buildApp(new Library(), connected)
const server = serve(
  { fetch: app.fetch, hostname: '127.0.0.1', port: Number(process.env['PORT'] ?? 3000) },
  ({ port }) => console.log(`a library on http://127.0.0.1:${port}/books`),
)

await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
server.close()
await once(server, 'close')
