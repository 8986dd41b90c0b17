export { cache, cacheEvict, cacheGroups, cachePut, redwell } from './middleware.js'
export type {
  ExpressCacheEvictOptions,
  ExpressCacheOptions,
  ExpressCachePutOptions,
  Middleware,
  RedwellExpressOptions,
  RedwellMiddleware,
} from './middleware.js'
