import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'

export interface EarlyRoute {
  readonly method: string
  readonly url: string
}

/*
 * A plugin sees only the routes that are declared after it was loaded, and `app.register` without `await` loads it
 * later than it looks. Such a route would silently not be cached. Fastify announces every instance when it is made;
 * from then on its routes with a cache configuration are noted here, so that the plugin can name those it came too late for.
 */
const declared = new WeakMap<object, EarlyRoute[]>()

subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: FastifyInstance }
  const routes: EarlyRoute[] = []
  declared.set(fastify.server, routes)
  fastify.addHook('onRoute', ({ method, url, config }) => {
    if (config?.cache !== undefined || config?.cachePut !== undefined || config?.cacheEvict !== undefined) {
      routes.push({ method: String(method), url })
    }
  })
})

/** Routes with a cache configuration that this application has declared so far. */
export function routesDeclaredBefore(app: FastifyInstance): readonly EarlyRoute[] {
  return declared.get(app.server) ?? []
}
