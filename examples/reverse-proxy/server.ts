import { METHODS } from 'node:http'
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import redwell from 'redwell/fastify'
import { cacheOptions, endLater, readSettings, stopSignal } from './settings.js'
import { endToEnd, forward } from './upstream.js'

const { host, port, upstream, redisUrl, commandTimeout, preset } = readSettings(process.env)

const app = fastify({
  logger: { level: 'warn' },
  // One route for every target there is, also for those that a router would refuse or decode.
  rewriteUrl: () => '/',
})

// Content is the upstream's to read, of whatever method and media type.
for (const method of METHODS) if (method !== 'CONNECT') app.addHttpMethod(method, { overrideExisting: true })

await app.register(redwell, { url: redisUrl, commandTimeout })

// In `app`, a GET is what is cached; a shared cache of RFC 9111 also has something to do when a resource is changed.
const cached = preset === 'app' ? ['GET', 'HEAD'] : app.supportedMethods
const others = app.supportedMethods.filter((method) => !cached.includes(method))
app.route({ url: '/', method: cached, config: { cache: cacheOptions(preset) }, handler })
if (others.length > 0) app.route({ url: '/', method: others, handler })

const origin = await app.listen({ host, port })
process.stdout.write(`${preset} cache on ${origin} in front of ${upstream.origin}\n`)
await stopSignal()
endLater(app.server)
await app.close()

async function handler(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const response = await forward(upstream, request.originalUrl, request.raw, reply.raw)
  reply.headers(fieldsOf(response.rawHeaders))
  // Not `reply.code`, which refuses what is of no registered class of status.
  reply.raw.statusCode = response.statusCode as number
  return reply.send(response)
}

/** Lines of one name stay several lines. */
function fieldsOf(rawHeaders: readonly string[]): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {}
  for (const [name, value] of endToEnd(rawHeaders)) {
    const before = fields[name.toLowerCase()]
    fields[name.toLowerCase()] = before === undefined ? value : [before, value].flat()
  }
  return fields
}
