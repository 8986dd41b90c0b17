import Fastify, {
  type FastifyInstance,
  type FastifyRequest,
  type onRequestHookHandler,
  type RouteHandlerMethod,
} from 'fastify'
import redwell from 'redwell/fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** What the authentication of the reader's application sets. */
    user?: { id: string; tenant: string; plan: string; role?: string }
  }
}

export declare const app: FastifyInstance
export declare const handler: RouteHandlerMethod
export declare const membersOnly: onRequestHookHandler
export { Fastify, FastifyRequest, redwell }
