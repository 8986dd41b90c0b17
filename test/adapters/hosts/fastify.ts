import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import redwell, { type RedwellFastifyOptions } from '../../../src/adapters/fastify/index.js'
import { Redis, type RedisOptions } from '../../../src/index.js'
import { certificate } from '../../support/certificate.js'
import { HTTP2_IDLE_MS, type Protocol } from '../client.js'
import {
  type Answer,
  type AppSpec,
  type Call,
  type Host,
  type Route,
  toAnswer,
  toBytes,
  toFields,
  limitWithCalls,
  requirementWithCalls,
  sessionsWithCalls,
  withCalls,
} from '../host.js'

export const fastifyHost = fastifyOver('http/1.1')

/** Fastify on a server of this protocol. */
export function fastifyOver(protocol: Protocol): Host {
  return {
    name: protocol === 'http/1.1' ? 'Fastify' : `Fastify over ${protocol}`,
    traits: {
      refreshes: true,
      repeatsLines: true,
      knowsMethods: true,
      headBeforeBody: false,
      tellsBreaks: protocol === 'http/1.1',
      problemType: 'application/problem+json',
      limits: true,
      trustsProxies: true,
      limitsBehindCache: false,
      sessions: true,
      answersTwice: true,
      tellsSources: true,
    },
    async start(spec) {
      const app = create(protocol, spec.trustsProxy)
      try {
        await build(app, spec)
        await app.listen({ host: '127.0.0.1', port: 0 })
      } catch (error) {
        await app.close()
        throw error
      }
      const { port } = app.addresses()[0] as { port: number }
      return { port, protocol, redis: app.redis, close: () => app.close() }
    },
  }
}

/** Its types tell servers apart; what is declared on them is the same. */
function create(protocol: Protocol, trustProxy = false): FastifyInstance {
  if (protocol === 'http/1.1') return Fastify({ forceCloseConnections: true, trustProxy })
  const http2SessionTimeout = HTTP2_IDLE_MS
  if (protocol === 'h2c') return Fastify({ http2: true, http2SessionTimeout, trustProxy }) as unknown as FastifyInstance
  return Fastify({ http2: true, https: certificate(), http2SessionTimeout, trustProxy }) as unknown as FastifyInstance
}

async function build(app: FastifyInstance, spec: AppSpec): Promise<void> {
  const { redis, connect = true, ambient, commit, onError, principal } = spec
  await app.register(redwell, {
    ...(redis instanceof Redis ? { redis } : settingsOf(redis)),
    ...(principal && { principal: (request: FastifyRequest) => principal(callOf(request)) }),
    ...(spec.rateLimit && { rateLimit: limitWithCalls(spec.rateLimit, callOf) }),
    ...(spec.sessions && { sessions: sessionsWithCalls(spec.sessions, callOf) }),
    connect,
  })
  if (ambient !== undefined) {
    app.addHook('onRequest', async (request, reply) => {
      for (const [name, value] of ambient(callOf(request))) reply.header(name, value)
    })
  }
  if (commit !== undefined) {
    app.addHook('onSend', async (request, reply, payload) => {
      const instead = await commit(callOf(request))
      if (instead === undefined) return payload
      reply.code(instead.status ?? 200)
      return instead.text
    })
  }
  if (spec.compression === 'outside') await app.register(compress, { threshold: 0 })
  if (onError !== undefined) app.setErrorHandler((error, _, reply) => send(reply, onError(error as Error)))
  for (const route of spec.routes) declare(app, route, spec.compression === 'inside')
}

/** Fastify's own type of `prefix`, which every plugin has, excludes undefined. */
function settingsOf({ prefix, sessions: _, ...rest }: RedisOptions): RedwellFastifyOptions {
  return prefix === undefined ? rest : { ...rest, prefix }
}

/** What an application encodes itself, before the cache sees the answer. */
function encoded(request: FastifyRequest, { text, ...answer }: Answer): Answer {
  if (request.headers['accept-encoding'] !== 'gzip' || text === undefined) return { ...answer, ...(text && { text }) }
  const fields = [['content-encoding', 'gzip'] as const, ['vary', 'accept-encoding'] as const]
  return { ...answer, headers: [...(answer.headers ?? []), ...fields], bytes: gzipSync(text) }
}

function declare(
  app: FastifyInstance,
  { method, path, cache, cachePut, cacheEvict, rateLimit, session, guard, handler }: Route,
  encodes: boolean,
): void {
  app.route({
    method,
    url: path,
    config: {
      ...(session && { session: requirementWithCalls(session, callOf) }),
      ...(rateLimit && { rateLimit: limitWithCalls(rateLimit, callOf) }),
      ...(cache && { cache: withCalls(cache, callOf) }),
      ...(cachePut && { cachePut: withCalls(cachePut, callOf) }),
      ...(cacheEvict && { cacheEvict: withCalls(cacheEvict, callOf) }),
    },
    ...(guard && {
      preHandler: async (request, reply) => {
        const refusal = guard(callOf(request))
        return refusal === undefined ? undefined : send(reply, refusal)
      },
    }),
    async handler(request, reply) {
      const answer = toAnswer(await handler(callOf(request, reply)))
      return send(reply, encodes ? encoded(request, answer) : answer)
    },
  })
}

function callOf(request: FastifyRequest, reply?: FastifyReply): Call {
  return {
    method: request.method,
    params: request.params as Record<string, string>,
    header(name) {
      const value = request.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    names: () => Object.keys(request.headers),
    address: (of) => (of === 'framework' ? request.ip : request.raw.socket.remoteAddress),
    origin: () => `${request.protocol}://${request.host}`,
    get session() {
      return request.session
    },
    json: async () => request.body,
    cacheGroups: (...names) => void reply?.cacheGroups(...names),
  }
}

function send(reply: FastifyReply, { status = 200, headers, text, json, bytes, stream, again }: Answer): FastifyReply {
  reply.code(status).headers(toFields(headers))
  if (stream !== undefined) reply.send(Readable.from(toBytes(stream)))
  else reply.send(text ?? json ?? bytes)
  if (again instanceof Error) throw again
  return again === undefined ? reply : send(reply, again)
}
