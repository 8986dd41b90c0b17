import type { FastifyReply, FastifyRequest } from 'fastify'
import { refuse } from './errors.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; on the routes under /me. */
    user: string
  }
}

const BEARER = /^Bearer +([\w.-]{1,64})$/i

/**
 * A guard for routes under /me. For the demonstration a token is the user's name; a real one is verified here. It runs
 * before the cache looks anything up, so a hit never skips it.
 */
export async function requireUser(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  const user = tokenOf(request)
  if (user === undefined) return refuseToken(reply, 'Say who you are: authorization: Bearer <your name>')
  request.user = user
  return undefined
}

/** A guard for routes under /admin. */
export function requireToken(token: string) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> =>
    tokenOf(request) === token ? undefined : refuseToken(reply, "This needs the administrator's token")
}

function tokenOf(request: FastifyRequest): string | undefined {
  return BEARER.exec(request.headers.authorization ?? '')?.[1]
}

function refuseToken(reply: FastifyReply, message: string): FastifyReply {
  return refuse(reply.header('www-authenticate', 'Bearer'), 401, message)
}
