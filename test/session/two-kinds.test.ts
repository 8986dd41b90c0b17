import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { expect, onTestFinished, test } from 'vitest'
import * as onExpress from '../../src/adapters/express/index.js'
import fastifyRedwell from '../../src/adapters/fastify/index.js'
import * as onHono from '../../src/adapters/hono/index.js'
import { createRedis, type Redis, type SessionOptions } from '../../src/index.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

interface Kinds {
  readonly shop: { readonly redis: Redis; readonly sessions: SessionOptions | undefined }
  readonly admin: { readonly redis: Redis; readonly sessions: SessionOptions | undefined }
  /** The sessions of the shop are those of the whole application, so those of the admin area are nested. */
  readonly nested: boolean
}

type Ask = (path: string, method?: string, cookie?: string) => Promise<{ status: number; text: string; cookie: string }>

const SHOP: SessionOptions = { principal: ({ userId }) => userId }
const ADMIN: SessionOptions = { ...SHOP, cookie: { name: 'admin' }, idleTtl: '1m' }

/** A shop and an admin area, as users write them. */
const hosts: Record<string, (kinds: Kinds) => Ask | Promise<Ask>> = {
  express: (kinds) => expressShop(express, kinds),
  'express 4': (kinds) => expressShop(express4, kinds),
  hono({ shop, admin, nested }) {
    const app = new Hono()
    app.use(nested ? '*' : '/shop/*', onHono.redwell({ redis: shop.redis }), onHono.sessions(shop.sessions))
    app.use('/admin/*', onHono.redwell({ redis: admin.redis }), onHono.sessions(admin.sessions))
    for (const area of ['shop', 'admin']) {
      app.get(`/${area}/panel`, onHono.requireSession(), (c) => c.text(`${area} of ${c.var.session.subject}`))
      app.post(`/${area}/login`, (c) => {
        c.var.session.data.userId = area
        return c.text('in')
      })
    }
    app.onError((error, c) => c.text(error.message, 500))
    return (path, method = 'GET', cookie = '') => answerOf(app.request(path, { method, headers: { cookie } }))
  },
}

async function expressShop(framework: typeof express, { shop, admin, nested }: Kinds): Promise<Ask> {
  const app = framework()
  app.use(nested ? '/' : '/shop', onExpress.redwell({ redis: shop.redis }), onExpress.sessions(shop.sessions))
  app.use('/admin', onExpress.redwell({ redis: admin.redis }), onExpress.sessions(admin.sessions))
  for (const area of ['shop', 'admin']) {
    app.get(`/${area}/panel`, onExpress.requireSession(), (req, res) => {
      res.send(`${area} of ${req.session.subject}`)
    })
    app.post(`/${area}/login`, (req, res) => {
      req.session.userId = area
      res.send('in')
    })
  }
  const failed: express.ErrorRequestHandler = (error: Error, _req, res, _next) =>
    void res.status(500).send(error.message)
  app.use(failed)
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return askOf((server.address() as AddressInfo).port)
}

function askOf(port: number): Ask {
  return (path, method = 'GET', cookie = '') =>
    answerOf(fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { cookie, connection: 'close' } }))
}

async function answerOf(asked: Response | Promise<Response>): ReturnType<Ask> {
  const response = await asked
  const cookie = response.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  return { status: response.status, text: await response.text(), cookie }
}

async function handle(sessions?: SessionOptions): Promise<Redis> {
  const { url } = await sharedRedis()
  const redis = createRedis({
    url,
    prefix: `two:${Math.random()}`,
    logger: silentLogger,
    sessions,
    commandTimeout: '10s',
  })
  onTestFinished(() => redis.close())
  return redis.connect()
}

test.each(Object.entries(hosts))(
  'sessions within sessions are an error, and no guard takes the users of the outer ones for its own: %s',
  async (_, host) => {
    const nested: Record<string, Omit<Kinds, 'nested'>> = {}
    const one = await handle()
    nested['other options of the same handle'] = {
      shop: { redis: one, sessions: SHOP },
      admin: { redis: one, sessions: ADMIN },
    }
    const [two, three] = [await handle(), await handle()]
    nested['another handle, with options'] = {
      shop: { redis: two, sessions: SHOP },
      admin: { redis: three, sessions: ADMIN },
    }
    for (const [name, kinds] of Object.entries(nested)) {
      const ask = await host({ ...kinds, nested: true })
      const { cookie } = await ask('/shop/login', 'POST')
      expect([name, cookie]).toEqual([name, expect.stringMatching(/session=./)])
      for (let turn = 0; turn < 2; turn += 1) {
        expect(await ask('/admin/panel', 'GET', cookie)).toMatchObject({
          ...{ status: 500, text: expect.stringMatching(/another handle|second handle/i) },
        })
        expect((await ask('/shop/panel', 'GET', cookie)).text).toBe('shop of shop')
      }
    }
  },
)

test('a session of one handle is none of another that a middleware has put in its place', async () => {
  const [one, two] = [await handle(SHOP), await handle(ADMIN)]
  const app = new Hono()
  app.use(onHono.redwell({ redis: one }), onHono.sessions())
  app.use('/admin/*', (c, next) => {
    c.set('redis', two)
    return next()
  })
  app.get('/admin/panel', onHono.sessions(), onHono.requireSession(), (c) => c.text('panel'))
  app.onError((error, c) => c.text(error.message, 500))
  expect(await answerOf(app.request('/admin/panel'))).toMatchObject({
    ...{ status: 500, text: expect.stringContaining('a session of another kind') },
  })
})

const apart: typeof hosts = {
  ...hosts,
  async fastify({ shop, admin }) {
    const app = Fastify()
    for (const [area, { redis }] of Object.entries({ shop, admin }))
      await app.register(
        async (own) => {
          await own.register(fastifyRedwell, { redis })
          own.get('/panel', { config: { session: 'required' } }, (request) => `${area} of ${request.session.subject}`)
          own.post('/login', async (request) => {
            request.session.data.userId = area
            return 'in'
          })
        },
        { prefix: `/${area}` },
      )
    onTestFinished(() => app.close())
    await app.listen({ port: 0, host: '127.0.0.1' })
    return askOf((app.server.address() as AddressInfo).port)
  },
}

test.each(Object.entries(apart))('two handles on two paths have two kinds of session: %s', async (_, host) => {
  const shop = { redis: await handle(SHOP), sessions: undefined }
  const admin = { redis: await handle(ADMIN), sessions: undefined }
  const ask = await host({ shop, admin, nested: false })
  const cookies = { shop: '', admin: '' }
  for (const area of ['shop', 'admin'] as const) cookies[area] = (await ask(`/${area}/login`, 'POST')).cookie
  expect(cookies).toEqual({ shop: expect.stringMatching(/session=/), admin: expect.stringMatching(/^admin=/) })
  // The browser sends both.
  const both = `${cookies.shop}; ${cookies.admin}`
  expect((await ask('/shop/panel', 'GET', both)).text).toBe('shop of shop')
  expect((await ask('/admin/panel', 'GET', both)).text).toBe('admin of admin')
  // A customer who renames the cookie opens nothing.
  const planted = `admin=${cookies.shop.split('=')[1]}`
  for (const cookie of [cookies.shop, planted]) expect((await ask('/admin/panel', 'GET', cookie)).status).toBe(401)
  // Each handle lists and ends its own.
  expect((await shop.redis.sessions.list('shop')).length).toBe(1)
  expect(await admin.redis.sessions.revokeAll('shop')).toBe(0)
  expect(await admin.redis.sessions.revokeAll('admin')).toBe(1)
  expect((await ask('/admin/panel', 'GET', both)).status).toBe(401)
  expect((await ask('/shop/panel', 'GET', both)).status).toBe(200)
})
