import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { buildApp as buildExpress } from '../../examples/express/app.js'
import { buildApp as buildFastify } from '../../examples/fastify/app.js'
import { signedIn } from '../../examples/hono/account.js'
import { buildApp as buildHono } from '../../examples/hono/app.js'
import { buildApp as buildNest } from '../../examples/nestjs/app.js'
import { Catalogue } from '../../examples/shop/catalogue.js'
import { redwell as redwellExpress } from '../../src/adapters/express/index.js'
import { redwell as redwellHono } from '../../src/adapters/hono/index.js'
import { testClock } from '../../src/testing/index.js'
import { silentLogger } from '../support/logger.js'
import type { ShopHost } from './walk.js'

const catalogue = () => new Catalogue(0)

/** Time stands still, so that limits and lifetimes are those of both shops. */
const settings = (withCache: boolean) => ({
  url: 'memory:',
  logger: silentLogger,
  now: testClock().now,
  defaults: { enabled: withCache },
})

const byPath: ShopHost['at'] = (version, path) => ({ path: `/v${version}${path}` })

export const fastifyShop: ShopHost = {
  at: (version, path) => ({ path, headers: version === 2 ? { 'accept-version': '2.x' } : {} }),
  async start(withCache) {
    const app = await buildFastify({ catalogue: catalogue(), redis: settings(withCache) })
    await app.listen({ host: '127.0.0.1', port: 0 })
    return { port: (app.server.address() as AddressInfo).port, close: () => app.close() }
  },
}

export const expressShop: ShopHost = {
  at: byPath,
  async start(withCache) {
    const connected = redwellExpress(settings(withCache))
    return running(buildExpress(catalogue(), connected).listen(0, '127.0.0.1'), connected)
  },
}

export const honoShop: ShopHost = {
  at: byPath,
  async start(withCache) {
    const connected = redwellHono({ ...settings(withCache), principal: signedIn })
    const { fetch } = buildHono(catalogue(), connected)
    return running(serve({ fetch, port: 0, hostname: '127.0.0.1' }) as Server, connected)
  },
}

export const nestShop = (platform: 'express' | 'fastify'): ShopHost => ({
  at: (version, path) => ({ path: `/api/v${version}${path}` }),
  prefix: '/api',
  async start(withCache) {
    const app = await buildNest({ catalogue: catalogue(), redis: settings(withCache), platform })
    await app.listen(0, '127.0.0.1')
    return { port: Number(new URL(await app.getUrl()).port), close: () => app.close() }
  },
})

async function running(server: Server, connected: { close(): Promise<void> }) {
  if (!server.listening) await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close()
      server.closeAllConnections()
      await connected.close()
    },
  }
}
