import fp from 'fastify-plugin'
import { redwellPlugin } from './plugin.js'

export type {
  FastifyCacheEvictOptions,
  FastifyCacheOptions,
  FastifyCachePutOptions,
  RedwellFastifyOptions,
} from './plugin.js'

export type { FastifyRateLimit } from './rate-limit.js'

/**
 * Redis for Fastify: the connection follows the application, routes are cached by `config.cache`, `config.cachePut`
 * and `config.cacheEvict`, and `app.cache` keeps values.
 *
 * @example
 * await app.register(redwell, { url: 'redis://localhost:6379' })
 * app.get('/products/:id', { config: { cache: { ttl: '5m', group: 'products' } } }, handler)
 */
const redwell = fp(redwellPlugin, { name: 'redwell', fastify: '5.x' })

export default redwell

export { redwell }
