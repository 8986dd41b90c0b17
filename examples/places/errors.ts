import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify'

/** Sends an error in the form that Fastify's own have. */
export function refuse(reply: FastifyReply, statusCode: number, message: string): FastifyReply {
  return reply.code(statusCode).send({ statusCode, error: STATUS_CODES[statusCode], message })
}

/** Tells clients what they did wrong, and of our own failures only that there was one. */
export function answerErrors(app: FastifyInstance): void {
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const { statusCode = 500 } = error
    if (statusCode < 500) return refuse(reply, statusCode, error.message)
    request.log.error(error)
    return refuse(reply, statusCode, 'Something failed on our side.')
  })
  app.setNotFoundHandler((request, reply) => refuse(reply, 404, `There is no ${request.method} ${request.url}`))
}
