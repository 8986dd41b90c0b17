import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance, FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { Session } from 'redwell'
import redwell from 'redwell/fastify'

export interface Item {
  id: string
}

export declare const app: FastifyInstance
export declare const request: FastifyRequest
export declare const handler: RouteHandlerMethod
export declare const userId: string
export declare const handle: string
export declare const server: Server
export declare const session: Session
export declare const socket: { close(): void; on(event: 'close', listener: () => void): void }
export declare function verify(body: unknown): Promise<{ id: string }>
export declare function serve(socket: unknown, session: Session): void
export declare const wss: {
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, opened: (socket: unknown) => void): void
}
export { redwell }
