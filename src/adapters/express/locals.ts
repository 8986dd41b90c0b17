import type { Response } from 'express'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Redis } from '../../create-redis.js'
import { UsageError } from '../../errors.js'

/**
 * A middleware that does not affect the types of parameters, body or locals. It is typed by `node:http`, so that Express
 * still infers `req.params` of the route's handlers.
 */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

/** The application's Redis. `word`: the middleware that needs it. */
export function redisOf(res: ServerResponse, word: string): Redis {
  const { redis } = (res as Response).locals as { readonly redis?: Redis }
  if (redis !== undefined) return redis
  throw new UsageError(`res.locals.redis is missing: call \`app.use(redwell({ … }))\` before ${word}.`)
}
