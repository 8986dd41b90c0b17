import type { FastifyInstance } from 'fastify'
import type { RedwellFastifyOptions } from 'redwell/fastify'
import type { testClock } from 'redwell/testing'

export declare const app: FastifyInstance
export declare const clock: ReturnType<typeof testClock>
export declare const response: Response
/** The reader's function that makes an application. */
export declare function buildApp(options: { redis: RedwellFastifyOptions }): FastifyInstance
