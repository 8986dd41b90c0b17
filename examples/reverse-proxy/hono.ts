import { once } from 'node:events'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { type HttpBindings, serve } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { cache, redwell } from 'redwell/hono'
import { cacheOptions, endLater, readSettings, stopSignal } from './settings.js'
import { BadGateway, endToEnd, forward, type Inbound } from './upstream.js'

/** Statuses with which a Response has no body (Fetch, section 2.2.3). */
const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304])

const { host, port, upstream, redisUrl, commandTimeout, preset } = readSettings(process.env)

const app = new Hono<{ Bindings: Partial<HttpBindings> }>()
const connected = redwell({ url: redisUrl, commandTimeout, fetch: app.fetch })

app.onError((error, c) => {
  console.error(error)
  return c.text(error.message, error instanceof BadGateway ? error.statusCode : 500)
})
app.use(connected)
app.all('*', cache(cacheOptions(preset)), async (c) => {
  const inbound = c.env.incoming ?? ofOurs(c)
  const target = c.env.incoming?.url ?? pathAndQuery(c.req.url)
  const response = await forward(upstream, target, inbound, c.env.outgoing)
  return toResponse(response.statusCode as number, endToEnd(response.rawHeaders), response)
})

const server = serve({ fetch: app.fetch, hostname: host, port })
await once(server, 'listening')
const address = server.address()
const actual = typeof address === 'object' && address !== null ? address.port : port
process.stdout.write(`${preset} cache on http://${host}:${actual} in front of ${upstream.origin}\n`)
await stopSignal()
endLater(server as { closeAllConnections?(): void })
await new Promise((closed) => server.close(closed))
await connected.close()

/** A refresh in the background has no connection: it asks with the fields that select the response. */
function ofOurs({ req }: Context): Inbound {
  const fields = [...req.raw.headers]
  const message = { method: req.method, rawHeaders: fields.flat(), headers: Object.fromEntries(fields) }
  return Object.assign(Readable.from([]), message)
}

function pathAndQuery(url: string): string {
  return url.slice(new URL(url).origin.length)
}

function toResponse(status: number, lines: readonly [string, string][], body: Readable): Response {
  if (status > 599) throw new BadGateway(`upstream: ${status} is no status`)
  if (NULL_BODY.has(status)) body.resume()
  const stream = Readable.toWeb(body) as ReadableStream<Uint8Array>
  return new Response(NULL_BODY.has(status) ? null : stream, { status, headers: lines as [string, string][] })
}
