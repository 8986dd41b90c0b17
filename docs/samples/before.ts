// Names that samples of other packages use. Nothing of redwell: these samples are compiled where the other packages are.
import express, { type RequestHandler } from 'express'
import Fastify, { type FastifyInstance, type RouteHandlerMethod } from 'fastify'
import { Hono } from 'hono'
import { Redis } from 'ioredis'
import { createClient } from 'redis'

export { createClient, express, Fastify, Hono, Redis }

export interface User {
  id: number
  name: string
}
export declare const db: { user(id: number): Promise<User> }
export declare const id: number
export declare function listProducts(): Promise<object[]>
export declare const list: RequestHandler
export declare const create: RequestHandler
export declare const app: FastifyInstance
export declare const handler: RouteHandlerMethod
