import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import express, { type NextFunction, type Request, type Response } from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { getCookie } from 'hono/cookie'
import { afterEach, describe, expect, test } from 'vitest'
import * as onExpress from '../../src/adapters/express/index.js'
import redwell from '../../src/adapters/fastify/index.js'
import * as onHono from '../../src/adapters/hono/index.js'
import { silentLogger } from '../support/logger.js'
import { Client } from './client.js'

// `vary: { cookie: 'lang' }`, and handlers that read cookies as users of the framework do.

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const settings = { url: 'memory:', logger: silentLogger }

const options = { ttl: 60, vary: { cookie: 'lang' } }

async function serve(server: ReturnType<typeof createAdaptorServer>, close: () => unknown): Promise<Client> {
  cleanups.push(close)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => server.close())
  return new Client((server.address() as AddressInfo).port)
}

const HOSTS = {
  async Fastify() {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(redwell, settings)
    app.addHook('onRequest', async (request) => parseCookies(request))
    const config = { cache: options }
    app.get('/lang', { config }, async (request) => `in ${cookiesOf(request)['lang']}`)
    app.get('/sid', { config }, async (request) => `in ${cookiesOf(request)['lang']} for ${cookiesOf(request)['sid']}`)
    app.get('/all', { config }, async (request) => JSON.stringify(cookiesOf(request)))
    await app.listen({ host: '127.0.0.1', port: 0 })
    cleanups.push(() => app.close())
    return new Client((app.server.address() as AddressInfo).port)
  },
  async Express() {
    const app = express()
    const cached = onExpress.redwell(settings)
    app.use(cached)
    app.use((req, _res, next) => (parseCookies(req), next()))
    app.get('/lang', onExpress.cache(options), (req, res) => void res.send(`in ${cookiesOf(req)['lang']}`))
    app.get(
      '/sid',
      onExpress.cache(options),
      (req, res) => void res.send(`in ${cookiesOf(req)['lang']} for ${cookiesOf(req)['sid']}`),
    )
    app.get('/all', onExpress.cache(options), (req, res) => void res.json(cookiesOf(req)))
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanups.push(
      () => cached.close(),
      () => server.close(),
      () => server.closeAllConnections(),
    )
    return new Client((server.address() as AddressInfo).port)
  },
}

/** As @fastify/cookie and cookie-parser do. */
function parseCookies(request: { readonly headers: { readonly cookie?: string | undefined } }): void {
  const pairs = (request.headers.cookie ?? '').split('; ').map((pair) => pair.split('='))
  Object.assign(request, { cookies: Object.fromEntries(pairs) as object })
}

function cookiesOf(request: object): Record<string, string> {
  return (request as { readonly cookies: Record<string, string> }).cookies
}

describe.each(Object.entries(HOSTS))('%s, cookies parsed before the cache', (_, start) => {
  test('a handler that reads the cookie which is keyed is stored by it', async () => {
    const client = await start()
    for (const cache of ['MISS', 'HIT'])
      for (const lang of ['de', 'fr'])
        expect(await client.get('/lang', { cookie: `sid=${cache}; lang=${lang}` })).toMatchObject({
          cache,
          text: `in ${lang}`,
        })
  })

  test.each(['/sid', '/all'])('I5: one that reads others as well answers for somebody: %s', async (path) => {
    const client = await start()
    for (const sid of ['ann', 'bob']) {
      const answer = await client.get(path, { cookie: `lang=de; sid=${sid}` })
      expect(answer.cache).toBe('BYPASS')
      expect(answer.text).toContain(sid)
    }
  })
})

test('I5: cookies that are parsed behind the cache are not keyed, whatever the key has looked at', async () => {
  const app = express()
  const cached = onExpress.redwell(settings)
  app.use(cached)
  // The fields have been read before the cache, and are parsed again behind it.
  const kept = new WeakMap<object, string | undefined>()
  app.use((req, _res, next) => (kept.set(req, req.headers.cookie), next()))
  const late = (req: Request, _res: Response, next: NextFunction): void => {
    Object.assign(req, { cookies: { sid: kept.get(req) } })
    next()
  }
  app.get('/x', onExpress.cache(options), late, (req, res) => void res.send(`for ${cookiesOf(req)['sid']}`))
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(
    () => cached.close(),
    () => server.close(),
    () => server.closeAllConnections(),
  )
  const client = new Client((server.address() as AddressInfo).port)
  for (const sid of ['ann', 'bob'])
    expect(await client.get('/x', { cookie: sid })).toMatchObject({ cache: 'BYPASS', text: `for ${sid}` })
})

test('Hono: a cookie that a middleware reads before the cache; getCookie in the handler reads the whole field', async () => {
  const app = new Hono<{ Variables: { lang: string | undefined } }>()
  const cached = onHono.redwell(settings)
  app.use(cached)
  app.use(async (c, next) => {
    c.set('lang', getCookie(c, 'lang'))
    await next()
  })
  app.get('/before', onHono.cache(options), (c) => c.text(`in ${c.var.lang}`))
  app.get('/within', onHono.cache(options), (c) => c.text(`in ${getCookie(c, 'lang')}`))
  const client = await serve(createAdaptorServer({ fetch: app.fetch }), () => cached.close())
  for (const [path, caches] of [
    ['/before', ['MISS', 'HIT']],
    ['/within', ['BYPASS', 'BYPASS']],
  ] as const)
    for (const cache of caches)
      expect(await client.get(path, { cookie: `sid=${cache}; lang=de` })).toMatchObject({ cache, text: 'in de' })
})
