import type { Express, RequestHandler } from 'express'
import type { Redis } from 'redwell'

declare global {
  namespace Express {
    interface Request {
      /** What the authentication of the reader's application sets. */
      user?: { id: string; plan: string }
    }
  }
}

export declare const app: Express
export declare const handler: RequestHandler
export declare const passport: { session(): RequestHandler }
export declare const search: RequestHandler
export declare const login: RequestHandler
export declare function buildApp(redis: Redis): Express

/** A job of the reader's queue. */
export interface Job {
  readonly customer: string
  run(): Promise<void>
}
export declare const queue: { delay(job: Job, seconds: number): Promise<void> }
