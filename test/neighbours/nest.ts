import {
  type CallHandler,
  ClassSerializerInterceptor,
  Controller,
  type DynamicModule,
  type ExecutionContext,
  Get,
  HttpCode,
  HttpException,
  type INestApplication,
  Injectable,
  Module,
  type NestInterceptor,
  Param,
  Post,
  Req,
  Res,
  type Type,
  ValidationPipe,
} from '@nestjs/common'
import { APP_INTERCEPTOR, APP_PIPE, NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import type { Express, Request, Response } from 'express'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { map, timeout } from 'rxjs'
import { CacheEvict, Cached, RedwellModule } from '../../src/adapters/nestjs/index.js'
import { silentLogger } from '../support/logger.js'
import type { Neighbour, Start } from './compare.js'
import { expressNeighbours } from './express.js'
import { fastifyNeighbours } from './fastify.js'
import { LONG } from './long.js'

/** What Nest itself adds for a whole application, on both platforms. */
const globally = (name: string, provide: string, useClass: Type) => {
  @Module({})
  class Global {}
  return { name, add: () => {}, module: { module: Global, providers: [{ provide, useClass }] } satisfies DynamicModule }
}

@Injectable()
class Envelope implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(map((data: unknown) => ({ data })))
  }
}

@Injectable()
class Timeout implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(timeout(60_000))
  }
}

const COMMON = [
  globally('ClassSerializerInterceptor', APP_INTERCEPTOR, ClassSerializerInterceptor),
  globally('ValidationPipe', APP_PIPE, ValidationPipe),
  globally('an interceptor that wraps each response', APP_INTERCEPTOR, Envelope),
  globally('an interceptor with a time limit', APP_INTERCEPTOR, Timeout),
]

/** Nest's router has hosts of its own. */
export const onExpress: readonly Neighbour<Express, Request, Response>[] = [
  ...expressNeighbours.filter(({ name }) => name !== 'vhost'),
  ...COMMON,
]

/** The module gives a Fastify application no names, so that no plugin needs others. */
export const onFastify = (
  redisUrl: () => string,
): readonly Neighbour<FastifyInstance, FastifyRequest, FastifyReply>[] => [...fastifyNeighbours(redisUrl), ...COMMON]

export function startNest<App, Req, Res>(platform: 'express' | 'fastify'): Start<App, Req, Res> {
  return async (neighbours, order) => {
    const modules = neighbours.flatMap(({ module }) => (module as DynamicModule | undefined) ?? [])
    const cached = order === 'none' ? [] : [RedwellModule.forRoot({ url: 'memory:', logger: silentLogger })]
    @Module({})
    class Root {}
    const root = {
      module: Root,
      imports: order === 'before' ? [...modules, ...cached] : [...cached, ...modules],
      controllers: [controllerOf(neighbours, order !== 'none')],
    }
    const options = { logger: false, abortOnError: false, forceCloseConnections: true } as const
    const app: INestApplication =
      platform === 'express'
        ? await NestFactory.create(root, options)
        : await NestFactory.create(root, new FastifyAdapter({ forceCloseConnections: true }), options)
    for (const { add } of neighbours) await add(app.getHttpAdapter().getInstance())
    await app.listen(0, '127.0.0.1')
    return { port: Number(new URL(await app.getUrl()).port), close: () => app.close() }
  }
}

const nothing: MethodDecorator = () => {}

function controllerOf<App, Req, Res>(neighbours: readonly Neighbour<App, Req, Res>[], isCached: boolean): Type {
  let version = 1
  const kept = isCached ? Cached({ ttl: 60, group: 'items' }) : nothing
  const evicts = isCached ? CacheEvict({ group: 'items' }) : nothing

  @Controller()
  class Items {
    @Get('items')
    @kept
    items() {
      return { version }
    }

    @Get('long')
    @kept
    long() {
      return { text: LONG }
    }

    @Get('missing')
    @kept
    missing() {
      throw new HttpException({ found: false }, 404)
    }

    @Get('fails')
    @kept
    fails() {
      throw new Error('no database')
    }

    @Get('me')
    @kept
    async me(@Req() request: Req) {
      const users = await Promise.all(neighbours.map(({ user }) => user?.(request)))
      return { users }
    }

    @Post('items')
    @HttpCode(200)
    @evicts
    write() {
      version += 1
      return { version }
    }

    @Post('login/:user')
    async login(@Req() request: Req, @Res({ passthrough: true }) response: Res, @Param('user') user: string) {
      const tokens = await Promise.all(neighbours.map(({ login }) => login?.(request, response, user)))
      return tokens.find((token) => typeof token === 'string') ?? 'signed in'
    }
  }
  return Items
}
