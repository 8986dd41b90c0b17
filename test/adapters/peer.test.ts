import { once } from 'node:events'
import { createServer, request as httpsRequest } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { connect, type Http2ServerRequest } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import express, { type Request } from 'express'
import Fastify, { type FastifyRequest } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { cache, redwell } from '../../src/adapters/express/index.js'
import fastifyRedwell from '../../src/adapters/fastify/index.js'
import { certificate } from '../support/certificate.js'
import { silentLogger } from '../support/logger.js'
import { Client } from './client.js'

// What a connection tells of its client, where frameworks and proxies come between.

const FORWARDED = { 'x-forwarded-for': '192.0.2.7', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.example' }

/** Properties of requests, and whether they depend on the address. */
const OF_EXPRESS: Readonly<Record<string, 'HIT' | 'BYPASS'>> = {
  ...{ protocol: 'HIT', secure: 'HIT', host: 'HIT', hostname: 'HIT', subdomains: 'HIT', ip: 'BYPASS', ips: 'BYPASS' },
}

const OF_FASTIFY: Readonly<Record<string, 'HIT' | 'BYPASS'>> = {
  ...{ protocol: 'HIT', host: 'HIT', hostname: 'HIT', port: 'HIT', ip: 'BYPASS', ips: 'BYPASS' },
}

describe.each([false, true])('a proxy is trusted: %s', (trusts) => {
  test.each(Object.entries(OF_EXPRESS))('request.%s of Express', async (name, outcome) => {
    const app = express().set('trust proxy', trusts)
    const cached = redwell({ url: 'memory:', logger: silentLogger })
    app.use(cached)
    app.get('/x', cache({ ttl: 60 }), (req, res) => void res.json({ found: req[name as keyof Request] as unknown }))
    const server = app.listen(0, '127.0.0.1')
    onTestFinished(async () => {
      server.close()
      await cached.close()
    })
    await once(server, 'listening')
    const client = new Client((server.address() as AddressInfo).port)
    await client.get('/x', FORWARDED)
    expect((await client.get('/x', FORWARDED)).cache).toBe(outcome)
  })

  test.each(Object.entries(OF_FASTIFY))('request.%s of Fastify', async (name, outcome) => {
    const app = Fastify({ trustProxy: trusts })
    onTestFinished(() => app.close())
    await app.register(fastifyRedwell, { url: 'memory:' })
    app.get('/x', { config: { cache: { ttl: 60 } } }, async (request) => ({
      found: request[name as keyof FastifyRequest],
    }))
    await app.inject({ url: '/x', headers: FORWARDED })
    const { headers } = await app.inject({ url: '/x', headers: FORWARDED })
    // Without a proxy there are no addresses.
    expect(headers['x-redis-cache']).toBe(name === 'ips' && !trusts ? 'BYPASS' : outcome)
  })
})

describe('the certificate of a client', () => {
  const WAYS: Readonly<Record<string, (socket: TLSSocket) => unknown>> = {
    getPeerCertificate: (socket) => socket.getPeerCertificate(),
    getPeerX509Certificate: (socket) => String(socket.getPeerX509Certificate()),
    authorized: (socket) => socket.authorized,
  }

  test.each(Object.entries(WAYS))('read by a handler with %s keeps its response from being stored', async (_, read) => {
    const { key, cert } = certificate()
    const app = express()
    const cached = redwell({ url: 'memory:', logger: silentLogger })
    app.use(cached)
    app.get('/x', cache({ ttl: 60 }), (req, res) => void res.json({ found: read(req.socket as TLSSocket) }))
    app.get('/none', cache({ ttl: 60 }), (_req, res) => void res.send('x'))
    const server = createServer({ key, cert, requestCert: true, rejectUnauthorized: false }, app).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    onTestFinished(async () => {
      server.close()
      server.closeAllConnections()
      await cached.close()
    })
    const outcome = async (path: string): Promise<unknown> => {
      const asked = httpsRequest({ port, path, host: '127.0.0.1', rejectUnauthorized: false, key, cert }).end()
      const [answer] = (await once(asked, 'response')) as [IncomingMessage]
      answer.resume()
      await once(answer, 'end')
      return answer.headers['x-redis-cache']
    }
    expect([await outcome('/x'), await outcome('/x')]).toEqual(['BYPASS', 'BYPASS'])
    expect([await outcome('/none'), await outcome('/none')]).toEqual(['MISS', 'HIT'])
  })
})

test('over HTTP/2 a connection has several requests, and each is watched', async () => {
  const app = Fastify({ http2: true })
  await app.register(fastifyRedwell, { url: 'memory:' })
  const paths = ['/ip', '/socket', '/session', '/none']
  const reads: Readonly<Record<string, (request: FastifyRequest) => unknown>> = {
    '/ip': (request) => request.ip,
    '/socket': (request) => request.raw.socket.remoteAddress,
    '/session': (request) => (request.raw as unknown as Http2ServerRequest).stream.session?.socket.remoteAddress,
    '/none': () => 'x',
  }
  for (const path of paths)
    app.get(path, { config: { cache: { ttl: 60 } } }, async (request) => ({ found: reads[path]?.(request as never) }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  onTestFinished(async () => {
    session.destroy()
    await app.close()
  })
  const outcome = async (path: string): Promise<unknown> => {
    const stream = session.request({ ':path': path })
    const [fields] = (await once(stream, 'response')) as [Record<string, unknown>]
    stream.resume()
    await once(stream, 'end')
    return fields['x-redis-cache']
  }
  for (const path of paths) await outcome(path)
  expect(await Promise.all(paths.map(outcome))).toEqual(['BYPASS', 'BYPASS', 'BYPASS', 'HIT'])
})
