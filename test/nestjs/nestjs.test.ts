import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  Controller,
  Delete,
  type ExceptionFilter,
  type ExecutionContext,
  Get,
  Header,
  HttpCode,
  HttpException,
  Module,
  type NestInterceptor,
  Param,
  Post,
  Put,
  Redirect,
  Render,
  Req,
  Res,
  ServiceUnavailableException,
  Sse,
  StreamableFile,
  UseGuards,
} from '@nestjs/common'
import { APP_INTERCEPTOR, HttpAdapterHost } from '@nestjs/core'
import type { NestExpressApplication } from '@nestjs/platform-express'
import type { NestFastifyApplication } from '@nestjs/platform-fastify'
import type { Response } from 'express'
import type { FastifyReply } from 'fastify'
import { map, type Observable, of, tap } from 'rxjs'
import { describe, expect, test } from 'vitest'
import { Redis } from '../../src/index.js'
import {
  type AddGroups,
  CacheEvict,
  CacheGroups,
  CachePut,
  Cached,
  type HttpRequest,
  RedwellModule,
} from '../../src/adapters/nestjs/index.js'
import { moduleOf, type Platform, start } from './app.js'

const PLATFORMS: Platform[] = ['express', 'fastify']

let runs = 0

const KeyGuard: CanActivate = {
  canActivate: (context) => context.switchToHttp().getRequest<HttpRequest>().headers['x-key'] === '1',
}

@Controller('items')
class Items {
  @Get(':id')
  @Cached({ ttl: '1m', group: ({ params }) => ['items', `item:${(params as { id: string }).id}`] })
  find(@Param('id') id: string) {
    return { id, run: ++runs }
  }

  @Put(':id')
  @CachePut({ ttl: '1m', group: ({ params }) => ['items', `item:${(params as { id: string }).id}`] })
  save(@Param('id') id: string) {
    return { id, saved: true }
  }

  @Delete(':id')
  @HttpCode(204)
  @CacheEvict({ key: 'path' })
  remove(): void {}

  @Post()
  @CacheEvict({ group: (_request, result) => `item:${result.json<{ id: string }>().id}` })
  make() {
    return { id: '1' }
  }

  @Post(':id/plain')
  plain() {
    return 'plain'
  }
}

@Controller('forms')
class Forms {
  @Get('text')
  @Cached({ ttl: 60 })
  text() {
    return 'text'
  }

  @Get('guarded')
  @UseGuards(KeyGuard)
  @Cached({ ttl: 60 })
  guarded() {
    return 'secret'
  }

  @Get('header')
  @Header('Content-Type', 'text/csv')
  @Header('X-Own', 'y')
  @Cached({ ttl: 60 })
  header() {
    return 'a,b'
  }

  @Get('code')
  @HttpCode(203)
  @Cached({ ttl: 60, statuses: [203] })
  code() {
    return { run: ++runs }
  }

  @Get('file')
  @Cached({ ttl: 60 })
  file() {
    return new StreamableFile(Readable.from([Buffer.from([1, 2]), Buffer.from([255])]), { type: 'image/png' })
  }

  @Get('passthrough')
  @Cached({ ttl: 60 })
  passthrough(@Res({ passthrough: true }) response: { header(name: string, value: string): void }) {
    response.header('x-own', 'y')
    return { run: ++runs }
  }

  @Get('response')
  @Cached({ ttl: 60 })
  response(@Res() response: Response & FastifyReply) {
    response.header('x-own', 'y')
    response.send({ run: ++runs })
  }

  @Get('raw')
  @Cached({ ttl: 60 })
  raw(@Res() response: Response | FastifyReply) {
    const raw: ServerResponse = 'raw' in response ? response.raw : response
    raw.writeHead(200, { 'content-type': 'text/plain' })
    raw.write('a')
    raw.end('b')
  }

  @Get('redirect')
  @Redirect('/elsewhere')
  @Cached({ ttl: 60, statuses: [302] })
  redirect() {
    runs += 1
  }

  @Get('observable')
  @Cached({ ttl: 60 })
  observable(): Observable<unknown> {
    return of({ run: ++runs })
  }

  @Get('groups')
  @Cached({ ttl: 60 })
  groups(@CacheGroups() addGroups: AddGroups) {
    addGroups('late')
    return 'x'
  }

  @Get('user')
  @Cached({ ttl: 60 })
  user(@Req() request: HttpRequest & { user?: unknown }) {
    return `for ${String(request.user)}`
  }
}

@Controller('all')
@Cached({ ttl: 60 })
class All {
  @Get('one')
  one() {
    return { run: ++runs }
  }

  @Get('own')
  @Cached({ ttl: 30 })
  own() {
    return 'own'
  }

  @Post('one')
  post() {
    return 'posted'
  }

  @Sse('events')
  events() {
    return of({ data: 'one' }, { data: 'two' })
  }
}

class Wrap implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(map((data: unknown) => ({ data: data ?? null })))
  }
}

describe.each(PLATFORMS)('Nest on %s', (platform) => {
  const controllers = [Items, Forms, All]
  const open = () => start(platform, moduleOf({ controllers }))

  test('a GET is a MISS, then a HIT; a write-through and an eviction change it', async () => {
    const { client } = await open()
    const miss = await client.get('/items/1')
    expect(await client.get('/items/1')).toMatchObject({ cache: 'HIT', text: miss.text, status: 200 })
    const put = await client.ask('/items/1', { method: 'PUT' })
    expect([put.status, put.cache]).toEqual([200, 'MISS'])
    expect(await client.get('/items/1')).toMatchObject({ cache: 'HIT', text: '{"id":"1","saved":true}' })
    expect((await client.ask('/items/1', { method: 'DELETE' })).status).toBe(204)
    expect((await client.get('/items/1')).cache).toBe('MISS')
    expect((await client.ask('/items', { method: 'POST' })).status).toBe(201)
    expect((await client.get('/items/1')).cache).toBe('MISS')
  })

  test('RFC 9111 4.4: a write without a decorator invalidates its own URI', async () => {
    class Plain {
      get() {
        return 'x'
      }
      set() {
        return 'set'
      }
    }
    const at = (name: 'get' | 'set') => Object.getOwnPropertyDescriptor(Plain.prototype, name) as PropertyDescriptor
    Get()(Plain.prototype, 'get', at('get'))
    Cached({ ttl: 60 })(Plain.prototype, 'get', at('get'))
    Post()(Plain.prototype, 'set', at('set'))
    Controller('plain')(Plain)
    const { client } = await start(platform, moduleOf({ controllers: [Plain] }))
    await client.get('/plain')
    expect((await client.get('/plain')).cache).toBe('HIT')
    await client.ask('/plain', { method: 'POST' })
    expect((await client.get('/plain')).cache).toBe('MISS')
  })

  test('a hit never skips a guard', async () => {
    const { client } = await open()
    await client.get('/forms/guarded', { 'x-key': '1' })
    expect((await client.get('/forms/guarded', { 'x-key': '1' })).cache).toBe('HIT')
    const refused = await client.get('/forms/guarded')
    expect([refused.status, refused.cache]).toEqual([403, undefined])
  })

  test.each(['text', 'header', 'code', 'file', 'passthrough', 'response', 'raw', 'redirect', 'observable'])(
    'a hit is the miss again: %s',
    async (form) => {
      const { client } = await open()
      const miss = await client.get(`/forms/${form}`)
      const hit = await client.get(`/forms/${form}`)
      expect([miss.cache, hit.cache, hit.status]).toEqual(['MISS', 'HIT', miss.status])
      expect(hit.bytes).toEqual(miss.bytes)
      for (const name of ['content-type', 'x-own', 'location', 'x-powered-by'])
        expect([name, hit.headers[name]]).toEqual([name, miss.headers[name]])
    },
  )

  test.each(['text', 'header', 'response'])('a hit answers conditions and HEAD: %s', async (form) => {
    const { client } = await open()
    await client.get(`/forms/${form}`)
    const { bytes, headers } = await client.get(`/forms/${form}`)
    const unchanged = await client.get(`/forms/${form}`, { 'if-none-match': headers['etag'] as string })
    expect([unchanged.status, unchanged.cache, unchanged.text]).toEqual([304, 'HIT', ''])
    expect([unchanged.headers['content-type'], unchanged.headers['content-length']]).toEqual([undefined, undefined])
    const head = await client.ask(`/forms/${form}`, { method: 'HEAD' })
    expect([head.cache, head.headers['content-length'], head.text]).toEqual(['HIT', String(bytes.length), ''])
  })

  test('@Cached on a controller is for its GETs that do not say otherwise', async () => {
    const { client } = await open()
    const miss = await client.get('/all/one')
    expect([miss.cache, miss.headers['cache-control']]).toEqual(['MISS', 'max-age=60'])
    expect((await client.get('/all/one')).cache).toBe('HIT')
    expect((await client.get('/all/own')).headers['cache-control']).toBe('max-age=30')
    expect((await client.ask('/all/one', { method: 'POST' })).cache).toBeUndefined()
  })

  test('a stream of events is let alone', async () => {
    const { client } = await open()
    const events = await client.get('/all/events')
    expect([events.status, events.cache, events.headers['content-type']]).toEqual([200, undefined, 'text/event-stream'])
    expect(events.text).toContain('data: two')
  })

  test('groups that only the handler knows', async () => {
    const { app, client } = await open()
    await client.get('/forms/groups')
    expect((await client.get('/forms/groups')).cache).toBe('HIT')
    await app.get(Redis).cache.deleteGroup('late')
    expect((await client.get('/forms/groups')).cache).toBe('MISS')
  })

  test("I5: an answer whose handler has looked at the user is nobody else's", async () => {
    const { client } = await start(platform, moduleOf({ controllers }), (app) => {
      app.use((req: { user?: string }, _res: unknown, next: () => void) => {
        req.user = 'ann'
        next()
      })
    })
    for (let round = 0; round < 2; round += 1) expect((await client.get('/forms/user')).cache).toBe('BYPASS')
    expect((await client.get('/forms/text')).cache).toBe('MISS')
  })

  describe('other interceptors', () => {
    test.each(['inside', 'outside'] as const)('one that wraps the body, %s, wraps it once', async (where) => {
      const module = moduleOf({
        controllers,
        providers: where === 'outside' ? [{ provide: APP_INTERCEPTOR, useClass: Wrap }] : [],
      })
      const { client } = await start(platform, module, (app) => {
        if (where === 'inside') app.useGlobalInterceptors(new Wrap())
      })
      const miss = await client.get('/items/1')
      const hit = await client.get('/items/1')
      expect([miss.cache, hit.cache, hit.text]).toEqual(['MISS', 'HIT', miss.text])
      expect(JSON.parse(miss.text)).toMatchObject({ data: { id: '1' } })
    })

    test('one around the cache may refuse a hit', async () => {
      let refuses = false
      const Refusing: NestInterceptor = {
        intercept: (_context, next) =>
          next.handle().pipe(
            tap(() => {
              if (refuses) throw new HttpException('later', 429)
            }),
          ),
      }
      const module = moduleOf({ controllers, providers: [{ provide: APP_INTERCEPTOR, useValue: Refusing }] })
      const { client } = await start(platform, module)
      await client.get('/items/1')
      refuses = true
      const refused = await client.get('/items/1')
      expect([refused.status, refused.headers['x-redis-cache']]).toEqual([429, undefined])
      refuses = false
      expect((await client.get('/items/1')).cache).toBe('HIT')
    })

    test('fields that the platform’s hooks and middlewares add are on hits as well', async () => {
      let count = 0
      const { client } = await start(platform, moduleOf({ controllers }), (app) => {
        app.use((_req: unknown, res: ServerResponse, next: () => void) => {
          res.setHeader('x-request-id', String(++count))
          next()
        })
        if (platform === 'fastify') {
          const instance = (app as NestFastifyApplication).getHttpAdapter().getInstance()
          instance.addHook('onSend', async (_request, reply, payload) => {
            reply.header('x-hook', String(count))
            return payload
          })
        }
      })
      for (const form of ['text', 'response']) {
        await client.get(`/forms/${form}`)
        const hit = await client.get(`/forms/${form}`)
        expect([hit.cache, hit.headers['x-request-id']]).toEqual(['HIT', String(count)])
        expect(hit.headers['x-hook']).toBe(platform === 'fastify' ? String(count) : undefined)
      }
    })
  })

  test('a stale entry stands in for what an exception filter answers', async () => {
    let now = Date.now()
    let fails = false
    @Controller('stale')
    class Stale {
      @Get()
      @Cached({ ttl: 10, staleIfError: 60 })
      get() {
        if (fails) throw new ServiceUnavailableException()
        return { good: true }
      }
    }
    const { client } = await start(platform, moduleOf({ controllers: [Stale] }, { now: () => now }))
    await client.get('/stale')
    fails = true
    now += 20_000
    expect(await client.get('/stale')).toMatchObject({ status: 200, text: '{"good":true}', cache: 'HIT' })
    now += 60_000
    expect((await client.get('/stale')).status).toBe(503)
  })

  test('what a key function throws goes to the exception filters', async () => {
    @Controller('throws')
    class Throws {
      @Get()
      @Cached({
        ttl: 10,
        key: () => {
          throw new HttpException('no key', 418)
        },
      })
      get() {
        return 'x'
      }
    }
    @Catch(HttpException)
    class Teapot implements ExceptionFilter {
      catch(error: HttpException, host: ArgumentsHost) {
        const { httpAdapter } = app.get(HttpAdapterHost)
        httpAdapter.reply(host.switchToHttp().getResponse(), `filtered: ${error.message}`, error.getStatus())
      }
    }
    const { app, client } = await start(platform, moduleOf({ controllers: [Throws] }), (own) =>
      own.useGlobalFilters(new Teapot()),
    )
    const answer = await client.get('/throws')
    expect([answer.status, answer.text]).toEqual([418, 'filtered: no key'])
  })

  test('the same controllers in two applications of one process', async () => {
    const [a, b] = [await open(), await open()]
    for (const { client } of [a, b]) {
      expect((await client.get('/items/1')).cache).toBe('MISS')
      expect((await client.get('/items/1')).cache).toBe('HIT')
    }
    await a.client.ask('/items/1', { method: 'DELETE' })
    expect([(await a.client.get('/items/1')).cache, (await b.client.get('/items/1')).cache]).toEqual(['MISS', 'HIT'])
  })

  describe('mistakes are told when the application starts', () => {
    test.each<[string, (prototype: object, name: string, descriptor: PropertyDescriptor) => void, RegExp]>([
      [
        '@Cached on a write',
        (...at) => {
          Post()(...at)
          Cached({ ttl: 1 })(...at)
        },
        /@Cached of POST \/wrong[^]*only GET/,
      ],
      [
        '@CacheEvict on a read',
        (...at) => {
          Get()(...at)
          CacheEvict({ group: 'g' })(...at)
        },
        /@CacheEvict of GET \/wrong[^]*belongs on a route that writes/,
      ],
      [
        '@Cached on a stream of events',
        (...at) => {
          Sse()(...at)
          Cached({ ttl: 1 })(...at)
        },
        /event stream/,
      ],
      ['no route', (...at) => Cached({ ttl: 1 })(...at), /Wrong\.get is not a route/],
    ])('%s', async (_, decorate, message) => {
      class Wrong {
        get() {
          return 'x'
        }
      }
      decorate(Wrong.prototype, 'get', Object.getOwnPropertyDescriptor(Wrong.prototype, 'get') as PropertyDescriptor)
      Controller('wrong')(Wrong)
      await expect(start(platform, moduleOf({ controllers: [Wrong] }))).rejects.toThrow(message)
    })
  })
})

test('a template is not rendered for a hit', async () => {
  let rendered = 0
  @Controller('page')
  class Pages {
    @Get()
    @Render('page')
    @Cached({ ttl: 60 })
    page() {
      return { title: 'hello' }
    }
  }
  const { client } = await start('express', moduleOf({ controllers: [Pages] }), (app) => {
    const express = app as NestExpressApplication
    express.engine('html', (_path: string, options: object, done: (error: null, text: string) => void) => {
      rendered += 1
      done(null, `<p>${(options as { title: string }).title}</p>`)
    })
    express.setViewEngine('html')
    express.setBaseViewsDir(new URL('views', import.meta.url).pathname)
  })
  const miss = await client.get('/page')
  const hit = await client.get('/page')
  expect([miss.text, miss.cache, hit.text, hit.cache, rendered]).toEqual([
    '<p>hello</p>',
    'MISS',
    '<p>hello</p>',
    'HIT',
    1,
  ])
})

test('a module of its own may import redwell and be imported', async () => {
  @Controller('inner')
  class Inner {
    @Get()
    @Cached({ ttl: 60 })
    get() {
      return 'x'
    }
  }
  @Module({ imports: [RedwellModule.forRoot({ url: 'memory:' })], controllers: [Inner] })
  class InnerModule {}
  @Module({ imports: [InnerModule] })
  class Outer {}
  const { client } = await start('express', Outer)
  expect([(await client.get('/inner')).cache, (await client.get('/inner')).cache]).toEqual(['MISS', 'HIT'])
})
