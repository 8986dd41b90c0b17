import Fastify, { type FastifyInstance } from 'fastify'
import type { FastifySessionOptions } from 'redwell/fastify'
import { type Bench, type Variant } from './bench.js'
import { request } from './items.js'
import { listen, type Params, type Running, type Subject } from './row.js'

/** Visitors of a row, so that nothing is won by treating one session specially. */
const VISITORS = 200

export const READ = '/read'
export const WRITE = '/write'
export const ANONYMOUS = '/anonymous'

/** Names of properties: `userId`, a counter and six texts. */
const TEXTS = ['name', 'mail', 'cart', 'seen', 'theme', 'notes'] as const

export type Data = { userId: string; count: number } & Record<(typeof TEXTS)[number], string>

/** What a session holds: 8 properties of about so many bytes together. */
export function dataOf(user: string, bytes: number): Data {
  const text = 'x'.repeat(Math.round((bytes - 100) / TEXTS.length))
  return {
    userId: user,
    count: 0,
    ...(Object.fromEntries(TEXTS.map((name) => [name, text])) as Record<(typeof TEXTS)[number], string>),
  }
}

/** What handlers answer from it. */
export const answerOf = ({ userId, count }: Pick<Data, 'userId' | 'count'>) => ({ userId, count })

/** Requests of every visitor in turn, after each has signed in by `POST /login?n`. */
export async function visits(bench: Bench, variant: Variant, path: string): Promise<string[]> {
  const logins = Array.from({ length: VISITORS }, (_, n) => request('POST', `/login?user=${n}`))
  const heads = await bench.heads(variant, logins)
  return heads.map((head) => {
    const cookies = [...head.matchAll(/^set-cookie: ([^;]+)/gim)].map(([, pair]) => pair)
    if (cookies.length === 0) throw new Error(`${variant.name}: no cookie\n${head}`)
    return request('GET', path, { cookie: cookies.join('; ') })
  })
}

interface LoginRoute {
  Querystring: { user: string }
}

/** Tests declare other properties of sessions, in the same compilation. */
const dataIn = ({ data }: { readonly data: object }): Data => data as Data

/** An application with sessions of redwell. `cluster`: on a server that is a cluster of one node. */
export function redwellSessions(bytes: number, options: FastifySessionOptions = {}, cluster = false): Subject {
  return async ({ redisUrl }) => {
    const { default: redwell } = await import('redwell/fastify')
    const app = Fastify()
    const sessions = { cookie: { secure: false }, ...options }
    await app.register(redwell, { url: redisUrl, connect: true, sessions, ...(cluster && { cluster }) })
    app.post<LoginRoute>('/login', async ({ session, query }) => {
      Object.assign(session.data, dataOf(query.user, bytes))
      return 'in'
    })
    app.get(READ, async ({ session }) => answerOf(dataIn(session)))
    app.get(WRITE, async ({ session }) => {
      const data = dataIn(session)
      data.count += 1
      return answerOf(data)
    })
    app.get(ANONYMOUS, async () => ({ hello: 'world' }))
    return listen(app)
  }
}

/** The same application without sessions. */
export const withoutSessions: Subject = async () => {
  const app = Fastify()
  app.get(ANONYMOUS, async () => ({ hello: 'world' }))
  return listen(app)
}

const IDLE_MS = 1_800_000

/** A hash for each session, read and kept alive by one pipeline: the fewest commands, and no safety. */
export function handwrittenSessions(bytes: number): Subject {
  return async ({ redisUrl, headers = {} }: Params): Promise<Running> => {
    const { tunedClient } = await import('./client.js')
    const client = await tunedClient(redisUrl)
    const app = Fastify()
    const load = async (cookie: string | undefined): Promise<[string, Data]> => {
      const key = `by-hand:${cookie?.slice('session='.length)}`
      const [fields] = await Promise.all([client.hGetAll(key), client.pExpire(key, IDLE_MS)])
      const values = Object.entries(fields).map(([name, text]): [string, unknown] => [name, JSON.parse(String(text))])
      return [key, Object.fromEntries(values) as Data]
    }
    app.post<LoginRoute>('/login', async ({ query }, reply) => {
      const id = query.user.padStart(87, '0')
      const fields = Object.entries(dataOf(query.user, bytes)).map(([name, value]) => [name, JSON.stringify(value)])
      await client.hSet(`by-hand:${id}`, Object.fromEntries(fields) as Record<string, string>)
      return reply.header('set-cookie', `session=${id}`).send('in')
    })
    app.get(READ, async (message, reply) => {
      const [, data] = await load(message.headers.cookie)
      return reply.headers(headers).send(answerOf(data))
    })
    app.get(WRITE, async (message, reply) => {
      const [key, data] = await load(message.headers.cookie)
      data.count += 1
      await client.hSet(key, 'count', JSON.stringify(data.count))
      return reply.headers(headers).send(answerOf(data))
    })
    return listen(app)
  }
}

/** Routes that peers answer as well; `data` is where they keep properties. */
export function peerRoutes(app: FastifyInstance, bytes: number, data: (message: never) => Data): void {
  app.post<LoginRoute>('/login', async (message) => {
    Object.assign(data(message as never), dataOf(message.query.user, bytes))
    return 'in'
  })
  app.get(READ, async (message) => answerOf(data(message as never)))
  app.get(WRITE, async (message) => {
    const own = data(message as never)
    own.count += 1
    return answerOf(own)
  })
  app.get(ANONYMOUS, async () => ({ hello: 'world' }))
}
