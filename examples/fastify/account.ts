import type { FastifyInstance } from 'fastify'
import type { FastifySessionOptions } from 'redwell/fastify'
import { verify } from '../shop/users.js'

declare module 'redwell' {
  interface SessionData {
    /** The signed-in user. */
    userId?: string | undefined
  }
}

export const sessions: FastifySessionOptions = { idleTtl: '30m', absoluteTtl: '8h', principal: (data) => data.userId }

interface SignIn {
  name: string
  password: string
}

const signIn = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 64 }, password: { type: 'string', maxLength: 64 } },
  required: ['name', 'password'],
} as const

export async function accountRoutes(app: FastifyInstance): Promise<void> {
  app.post<{ Body: SignIn }>(
    '/sign-in',
    { schema: { body: signIn }, config: { rateLimit: { rate: '10/minute' } } },
    async ({ body, session }, reply) => {
      const user = verify(body.name, body.password)
      if (user === undefined) return reply.code(401).send({ message: 'wrong name or password' })
      session.data.userId = user.name // signs in
      session.rotate() // under a new id, also if the same user was signed in
      return reply.code(204).send()
    },
  )

  app.post('/sign-out', async ({ session }, reply) => {
    await session.end()
    return reply.code(204).send()
  })
}
