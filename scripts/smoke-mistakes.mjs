// Mistakes that the compiler refuses, for scripts/smoke.mjs.

export const IMPORTS = `
import Fastify, { type FastifyRequest } from 'fastify'
import redwell, { type FastifyCacheEvictOptions, type FastifyCacheOptions } from 'redwell/fastify'
import * as hono from 'redwell/hono'
import * as express from 'redwell/express'
import { Cached, CacheEvict, RateLimit, RedwellModule } from 'redwell/nestjs'
import { createRedis } from 'redwell'
interface One { Params: { id: string } }
const app = Fastify()
`

const DURATION = 'Duration'

const PER = "Property 'per' is missing"

/** A line of a program, and what the compiler must say about it; nothing: it compiles. */
export const MISTAKES = [
  ["hono.cache({ tll: '5m' })", "'tll' does not exist in type 'HonoCacheOptions'"],
  ["hono.cache({ ttl: '5m', grup: 'x' })", "Did you mean to write 'group'?"],
  ["hono.cache({ ttl: '5m', private: true })", PER],
  ['hono.cacheEvict({})', "not assignable to parameter of type 'HonoCacheEvictOptions'"],
  ["express.cache({ staleWhileRevalidat: '5m' })", "Did you mean to write 'staleWhileRevalidate'?"],
  ["express.cache({ wait: '5 minutes' })", DURATION],
  ["express.cacheEvict({ key: 'pat' })", "not assignable to type 'EvictKey<"],
  ["Cached({ ttl: '5m', group: 5 })", "Type 'number' is not assignable to type 'GroupOption<"],
  ["CacheEvict({ group: 'x', mode: 'softer' })", `"softer"' is not assignable to type '"`],
  ["RateLimit({ rates: '1/minute' })", "'rates' does not exist in type"],
  ["RedwellModule.forRoot({ ulr: 'redis://x' })", "'ulr' does not exist in type"],
  ["createRedis({ commandTimeout: '1 hour' })", DURATION],
  ["createRedis({ comandTimeout: '1s' })", "Did you mean to write 'commandTimeout'?"],
  ["app.register(redwell, { url: 'memory:', connct: true })", "'connct' does not exist in type"],
  // Fastify takes any name in `config`, and joins the types of values there with what is written, docs/fastify.md.
  ["const a: FastifyCacheOptions = { tll: '5m' }", "'tll' does not exist in type"],
  ["const b = { ttl: '5 minutes' } satisfies FastifyCacheOptions", DURATION],
  ["app.get('/c', { config: { cache: { ttl: '5m', private: true } } }, async () => 1)", PER],
  ["app.get('/d', { config: { cache: { wait: '5 minutes' } } }, async () => 1)", "Type 'string' is not assignable"],
  // Typed parameters in functions of Fastify's options.
  ['const e: FastifyCacheOptions<One> = { group: ({ params }) => params.id }', undefined],
  ["app.get<One>('/e/:id', { config: { cache: e } }, async ({ params }) => params.id)", undefined],
  [
    "app.get<One>('/f/:id', { config: { cache: { key: ({ params }: FastifyRequest<One>) => [params.id] } } }, async () => 1)",
    undefined,
  ],
  ['const g: FastifyCacheEvictOptions<One> = { group: ({ params }) => params.name }', "'name' does not exist on type"],
  ['const h: FastifyCacheOptions = { group: (id: string) => id }', "not assignable to type 'GroupOption<"],
]
