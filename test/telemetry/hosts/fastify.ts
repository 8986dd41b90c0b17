import Fastify, { type FastifyContextConfig, type FastifyRequest } from 'fastify'
import redwell from '../../../src/fastify/index.js'
import type { Call, Host, Route } from '../host.js'

export const fastifyHost: Host = {
  name: 'Fastify',
  async start({ redis: { prefix, ...redis }, routes }) {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(redwell, { ...redis, ...(prefix !== undefined && { prefix }), connect: true })
    for (const route of routes)
      app.route({ ...declaration(route), handler: async (request) => route.handler(call(request)) })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.addresses()[0] as { port: number }
    return { port, redis: app.redis, close: () => app.close() }
  },
}

function declaration({ method, path, cache, cachePut, cacheEvict }: Route) {
  const config = {
    ...(cache && { cache: withCalls(cache) }),
    ...(cachePut && { cachePut: withCalls(cachePut) }),
    ...(cacheEvict && { cacheEvict: withCalls(cacheEvict) }),
  }
  return { method, url: path, config: config as FastifyContextConfig }
}

/** Functions of a Call as functions of Fastify's request. */
function withCalls(options: object): object {
  const entries = Object.entries(options).map(([name, value]) => [
    name,
    typeof value === 'function'
      ? (request: FastifyRequest, ...rest: unknown[]) =>
          (value as (call: Call, ...rest: unknown[]) => unknown)(call(request), ...rest)
      : (value as unknown),
  ])
  return Object.fromEntries(entries) as object
}

function call(request: FastifyRequest): Call {
  return {
    params: request.params as Record<string, string>,
    header: (name) => request.headers[name] as string | undefined,
  }
}
