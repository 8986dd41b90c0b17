import type { IncomingMessage, ServerResponse } from 'node:http'

/**
 * A middleware that says nothing about parameters, body or locals: it is typed by `node:http`, so that Express infers
 * `req.params` of the handlers beside it as if it were not there.
 */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void
