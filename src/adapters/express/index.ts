export { cache, cacheEvict, cacheGroups, cachePut, redwell } from './middleware.js'
export type {
  ExpressCacheEvictOptions,
  ExpressCacheOptions,
  ExpressCachePutOptions,
  Middleware,
  RedwellExpressOptions,
  RedwellMiddleware,
} from './middleware.js'
export { rateLimit } from './rate-limit.js'
export type { ExpressRateLimit } from './rate-limit.js'
