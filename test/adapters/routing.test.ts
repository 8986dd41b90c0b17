import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Controller, Delete, Get, type INestApplication, Module, VersioningType } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import express from 'express'
import Fastify, { type RouteOptions } from 'fastify'
import { afterEach, describe, expect, test } from 'vitest'
import * as onExpress from '../../src/adapters/express/index.js'
import redwell from '../../src/adapters/fastify/index.js'
import { Cached, CacheEvict, RedwellModule } from '../../src/adapters/nestjs/index.js'
import { silentLogger } from '../support/logger.js'
import { Client } from './client.js'

// What a router decides by is part of the key without being asked.

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const settings = { url: 'memory:', logger: silentLogger }

const ttl = 60

type Headers = Readonly<Record<string, string>>

/** Two kinds of requests of one path have two entries, and what ends the path ends both. */
async function apart(client: Client, path: string, kinds: readonly [Headers, Headers], texts: readonly string[]) {
  const round = async (): Promise<readonly (string | undefined)[]> => {
    const answers = [await client.get(path, kinds[0]), await client.get(path, kinds[1])]
    expect(answers.map(({ text }) => text)).toEqual(texts)
    return answers.map(({ cache }) => cache)
  }
  expect(await round()).toEqual(['MISS', 'MISS'])
  expect(await round()).toEqual(['HIT', 'HIT'])
  await client.ask(path, { method: 'DELETE', headers: kinds[0] })
  expect(await round()).toEqual(['MISS', 'MISS'])
}

type RouteConstraint = NonNullable<RouteOptions['constraints']>

describe('Fastify constraints', () => {
  const secret = {
    name: 'secret',
    storage: () => {
      const handlers = new Map<unknown, unknown>()
      return {
        get: (key: unknown) => handlers.get(key) ?? null,
        set: (key: unknown, handler: unknown) => void handlers.set(key, handler),
      }
    },
    deriveConstraint: (request: { headers: Record<string, unknown> }) => request.headers['x-secret'],
  }

  test.each<[string, readonly [RouteConstraint, RouteConstraint], readonly [Headers, Headers], string]>([
    ['host', [{ host: 'a.example' }, { host: 'b.example' }], [{ host: 'a.example' }, { host: 'b.example' }], 'host'],
    ['host', [{ host: /^a/ }, { host: /^b/ }], [{ host: 'a.example' }, { host: 'b.example' }], 'host'],
    [
      'version',
      [{ version: '1.0.0' }, { version: '2.0.0' }],
      [{ 'accept-version': '1.x' }, { 'accept-version': '2.x' }],
      'accept-version',
    ],
    ['secret', [{ secret: 'a' }, { secret: 'b' }], [{ 'x-secret': 'a' }, { 'x-secret': 'b' }], '*'],
  ])('%s %o', async (_, constraints, kinds, vary) => {
    const app = Fastify({ routerOptions: { constraints: { secret: secret as never } } })
    cleanups.push(() => app.close())
    await app.register(redwell, settings)
    for (const [index, one] of constraints.entries()) {
      app.get('/x', { config: { cache: { ttl } }, constraints: one }, async () => `handler ${index}`)
      app.delete('/x', { constraints: one }, async () => 'gone')
    }
    await app.listen({ host: '127.0.0.1', port: 0 })
    const client = new Client((app.server.address() as AddressInfo).port)
    await apart(client, '/x', kinds, ['handler 0', 'handler 1'])
    for (const cache of ['HIT', 'HIT'])
      expect(await client.get('/x', kinds[0])).toMatchObject({ cache, headers: { vary } })
  })
})

describe.each(['express', 'fastify'] as const)('Nest on %s', (platform) => {
  function controllers(first: object, second: object) {
    @Controller({ path: 'x', ...first })
    class First {
      @Get()
      @Cached({ ttl })
      read() {
        return 'first'
      }

      @Delete()
      @CacheEvict({ key: 'path' })
      remove() {
        return 'gone'
      }
    }

    @Controller({ path: 'x', ...second })
    class Second {
      @Get()
      @Cached({ ttl })
      read() {
        return 'second'
      }
    }

    return [First, Second]
  }

  async function start(classes: readonly (new () => object)[], configure: (app: INestApplication) => void = () => {}) {
    @Module({ imports: [RedwellModule.forRoot(settings)], controllers: [...classes] })
    class App {}
    const options = { logger: false, forceCloseConnections: true } as const
    const app =
      platform === 'express'
        ? await NestFactory.create(App, options)
        : await NestFactory.create(App, new FastifyAdapter({ forceCloseConnections: true }), options)
    cleanups.push(() => app.close())
    configure(app)
    await app.listen(0, '127.0.0.1')
    return new Client(Number(new URL(await app.getUrl()).port))
  }

  test.each<
    [string, Parameters<INestApplication['enableVersioning']>[0], readonly [Headers, Headers], string | undefined]
  >([
    [
      'header',
      { type: VersioningType.HEADER, header: 'X-Version' },
      [{ 'x-version': '1' }, { 'x-version': '2' }],
      'x-version',
    ],
    [
      'media type',
      { type: VersioningType.MEDIA_TYPE, key: 'v=' },
      [{ accept: 'application/json;v=1' }, { accept: 'application/json;v=2' }],
      'accept',
    ],
    [
      'custom',
      {
        type: VersioningType.CUSTOM,
        extractor: (request) => (request as { headers: Record<string, string> }).headers['x-v'] ?? '',
      },
      [{ 'x-v': '1' }, { 'x-v': '2' }],
      undefined,
    ],
  ])('versions by %s', async (_, versioning, kinds, vary) => {
    const client = await start(controllers({ version: '1' }, { version: '2' }), (app) =>
      app.enableVersioning(versioning),
    )
    await apart(client, '/x', kinds, ['first', 'second'])
    expect((await client.get('/x', kinds[0])).headers).toMatchObject(vary === undefined ? {} : { vary })
  })

  test('versions in the path', async () => {
    const client = await start(controllers({ version: '1' }, { version: '2' }), (app) =>
      app.enableVersioning({ type: VersioningType.URI }),
    )
    expect([(await client.get('/v1/x')).text, (await client.get('/v2/x')).text]).toEqual(['first', 'second'])
  })

  test.runIf(platform === 'express')('hosts of controllers', async () => {
    const client = await start(controllers({ host: 'a.example' }, { host: 'b.example' }))
    await apart(client, '/x', [{ host: 'a.example' }, { host: 'b.example' }], ['first', 'second'])
  })
})

describe('Express', () => {
  async function start(build: (app: express.Express) => void) {
    const app = express()
    const cached = onExpress.redwell(settings)
    app.use(cached)
    build(app)
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanups.push(async () => {
      server.closeAllConnections()
      server.close()
      await cached.close()
    })
    return new Client((server.address() as AddressInfo).port)
  }

  test('a URL that a middleware has rewritten by host', async () => {
    const client = await start((app) => {
      app.use((req, _res, next) => {
        req.url = `/${req.hostname.split('.')[0]}${req.url}`
        next()
      })
      app.get('/:tenant/items', onExpress.cache({ ttl }), (req, res) => void res.send(`of ${req.params['tenant']}`))
      app.delete('/:tenant/items', (_req, res) => void res.send('gone'))
    })
    await apart(client, '/items', [{ host: 'a.example' }, { host: 'b.example' }], ['of a', 'of b'])
  })

  test('a slash at the end: entries of their own, ended together; a redirect never answers itself', async () => {
    let count = 0
    const client = await start((app) => {
      app.get('/files/*path', onExpress.cache({ ttl, statuses: [200, 301] }), (req, res) => {
        if (req.path.endsWith('/')) res.send(`listing ${++count}`)
        else res.redirect(301, `${req.path}/`)
      })
      app.delete('/files/*path', (_req, res) => void res.send('gone'))
    })
    expect(await client.get('/files/a')).toMatchObject({ status: 301, cache: 'MISS' })
    for (const cache of ['MISS', 'HIT'])
      expect(await client.get('/files/a/')).toMatchObject({ status: 200, text: 'listing 1', cache })
    expect(await client.get('/files/a')).toMatchObject({ status: 301, cache: 'HIT' })
    await client.ask('/files/a', { method: 'DELETE' })
    expect(await client.get('/files/a/')).toMatchObject({ text: 'listing 2', cache: 'MISS' })
  })

  test('a GET with content bypasses, because its handler may read it', async () => {
    const client = await start((app) => {
      app.use(express.json())
      app.get('/q', onExpress.cache({ ttl }), (req, res) => void res.json(req.body ?? null))
    })
    expect(await client.ask('/q', { json: { q: 'evil' } })).toMatchObject({ cache: 'BYPASS', text: '{"q":"evil"}' })
    expect(await client.get('/q')).toMatchObject({ cache: 'MISS', text: 'null' })
  })

  test('a page with a nonce of its own head is not stored', async () => {
    let count = 0
    const client = await start((app) => {
      app.use((_req, res, next) => {
        res.locals['nonce'] = `nonce${++count}`
        res.set('content-security-policy', `script-src 'nonce-nonce${count}'`)
        next()
      })
      app.get(
        '/page',
        onExpress.cache({ ttl }),
        (_req, res) => void res.send(`<script nonce="${String(res.locals['nonce'])}">`),
      )
      app.get('/plain', onExpress.cache({ ttl }), (_req, res) => void res.send('no script'))
    })
    await client.get('/page')
    expect(await client.get('/page')).toMatchObject({ cache: 'BYPASS', text: '<script nonce="nonce2">' })
    await client.get('/plain')
    expect((await client.get('/plain')).cache).toBe('HIT')
  })
})
