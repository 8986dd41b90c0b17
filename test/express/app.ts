import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type Express } from 'express'
import { afterEach } from 'vitest'
import { redwell, type RedwellExpressOptions, type RedwellMiddleware } from '../../src/adapters/express/index.js'
import { Client } from '../adapters/client.js'
import { silentLogger } from '../support/logger.js'

export interface Started {
  readonly client: Client
  readonly cached: RedwellMiddleware
  readonly server: Server
}

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  await Promise.all(cleanups.splice(0).map((cleanup) => cleanup()))
})

/** An application on the embedded store, stopped when the test ends. `before` runs ahead of redwell. */
export async function start(
  declare: (app: Express) => void,
  options: RedwellExpressOptions & { readonly before?: (app: Express) => void } = {},
): Promise<Started> {
  const { before, ...settings } = options
  const app = express()
  const cached = redwell({ url: 'memory:', logger: silentLogger, ...settings })
  before?.(app)
  app.use(cached)
  declare(app)
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(async () => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
    await cached.close()
  })
  return { client: new Client((server.address() as AddressInfo).port), cached, server }
}
