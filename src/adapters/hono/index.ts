export { cache, cacheEvict, cacheGroups, cachePut, redwell } from './middleware.js'
export type {
  HonoCacheEvictOptions,
  HonoCacheOptions,
  HonoCachePutOptions,
  RedwellHonoOptions,
  RedwellMiddleware,
} from './middleware.js'
export { rateLimit } from './rate-limit.js'
export type { HonoRateLimit } from './rate-limit.js'
