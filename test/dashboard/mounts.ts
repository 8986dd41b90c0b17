import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import {
  type CanActivate,
  Controller,
  Get,
  type INestApplication,
  type NestApplicationOptions,
  VersioningType,
} from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import express from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import type { Redis } from '../../src/create-redis.js'
import { RedwellModule } from '../../src/adapters/nestjs/index.js'
import { type Dashboard, dashboard, type DashboardOptions } from '../../src/dashboard/index.js'

/** An application of one framework with the page below `/admin/ops`, as its users would mount it. */
export interface Mounted {
  readonly port: number
  readonly panel: Dashboard
  close(): Promise<unknown>
}

export type Mount = (redis: Redis, guard: DashboardOptions['guard']) => Promise<Mounted>

export const PATH = '/admin/ops'

export const MOUNTS: Readonly<Record<string, Mount>> = {
  async Fastify(redis, guard) {
    const app = Fastify()
    const panel = dashboard(redis, { guard })
    await app.register(panel.fastify, { prefix: PATH })
    await app.listen({ host: '127.0.0.1', port: 0 })
    return { port: portOf(app.server), panel, close: () => app.close() }
  },
  'Express 5': (redis, guard) => mountOnExpress(express, redis, guard),
  'Express 4': (redis, guard) => mountOnExpress(express4, redis, guard),
  async Hono(redis, guard) {
    const panel = dashboard(redis, { guard })
    const app = new Hono()
      .all(`${PATH}/*`, (c) => panel.fetch(c.req.raw, c))
      .all(PATH, (c) => panel.fetch(c.req.raw, c))
    return listen(createAdaptorServer({ fetch: app.fetch }) as Server, panel)
  },
  'NestJS on Express': (redis, guard) => mountOnNest(redis, guard, (settings) => NestFactory.create(Root, settings)),
  'NestJS on Fastify': (redis, guard) =>
    mountOnNest(redis, guard, (settings) => NestFactory.create(Root, new FastifyAdapter(), settings)),
  async Koa(redis, guard) {
    const panel = dashboard(redis, { guard })
    const app = new Koa().use((ctx, next) => {
      if (ctx.path !== PATH && !ctx.path.startsWith(`${PATH}/`)) return next()
      ctx.respond = false
      panel.node(ctx.req, ctx.res)
    })
    return listen(createServer(app.callback() as RequestListener), panel)
  },
  async 'node:http'(redis, guard) {
    const panel = dashboard(redis, { guard })
    return listen(createServer(panel.node), panel)
  },
}

async function mountOnExpress(
  framework: typeof express,
  redis: Redis,
  guard: DashboardOptions['guard'],
): Promise<Mounted> {
  const panel = dashboard(redis, { guard })
  // Parsed before: the page has to take its content from there.
  const app = framework().use(express.json(), express.urlencoded())
  return listen(createServer(app.use(PATH, panel.node)), panel)
}

class Root {
  readonly name = 'Root'
}

/** A route of the application next to the page, by whose answers one sees what guards and prefix do. */
class Shop {
  read(): string {
    return 'shop'
  }
}
Controller({ path: 'shop', version: '1' })(Shop)
Get()(Shop.prototype, 'read', Object.getOwnPropertyDescriptor(Shop.prototype, 'read') ?? {})

const nobody: CanActivate = { canActivate: () => false }

/** With all that an application may set for its own routes: prefix, versions and a guard that lets nobody in. */
async function mountOnNest(
  redis: Redis,
  guard: DashboardOptions['guard'],
  create: (settings: NestApplicationOptions) => Promise<INestApplication>,
): Promise<Mounted> {
  Reflect.defineMetadata('imports', [RedwellModule.forRoot({ redis })], Root)
  Reflect.defineMetadata('controllers', [Shop], Root)
  const app = await create({ logger: false, abortOnError: false, forceCloseConnections: true })
  app.setGlobalPrefix('v')
  app.enableVersioning({ type: VersioningType.URI })
  app.useGlobalGuards(nobody)
  const panel = dashboard(redis, { guard })
  app.use(PATH, panel.node)
  await app.listen(0, '127.0.0.1')
  const close = async (): Promise<void> => {
    panel.close()
    await app.close()
  }
  return { port: portOf(app.getHttpServer() as Server), panel, close }
}

async function listen(server: Server, panel: Dashboard): Promise<Mounted> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    panel.close()
    server.close()
    await once(server, 'close')
  }
  return { port: portOf(server), panel, close }
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
