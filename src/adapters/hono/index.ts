export { cache, cacheEvict, cacheGroups, cachePut, redwell } from './middleware.js'
export type {
  HonoCacheEvictOptions,
  HonoCacheOptions,
  HonoCachePutOptions,
  RedwellHonoOptions,
  RedwellMiddleware,
} from './middleware.js'
