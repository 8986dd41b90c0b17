import type { Handler, Hono } from 'hono'
import type { RedwellMiddleware } from 'redwell/hono'

export declare const app: Hono<{ Variables: { user?: { id: string } } }>
export declare const handler: Handler
export declare function buildApp(connected: RedwellMiddleware): Hono
