import { createRequire } from 'node:module'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sharedRedis } from '../support/redis-server.js'
import { differences, type Neighbour, pairsOf, type Start } from './compare.js'
import { expressNeighbours, startExpress } from './express.js'
import { fastifyNeighbours, startFastify } from './fastify.js'
import { honoNeighbours, startHono } from './hono.js'
import { onExpress, onFastify, startNest } from './nest.js'

/** Fewer hits mean that a neighbour keeps the cache from working. */
const HITS_MIN = 6

let server: Awaited<ReturnType<typeof sharedRedis>>
beforeAll(async () => {
  server = await sharedRedis()
})
afterAll(() => server.close())

/** Compares each neighbour, or each two of them, with the same application without the cache. */
function suite<App, Req, Res>(
  host: string,
  start: Start<App, Req, Res>,
  sets: readonly (readonly Neighbour<App, Req, Res>[])[],
  orders: readonly ('before' | 'after')[] = ['before', 'after'],
): void {
  const rows = sets.flatMap((set) =>
    orders.map((order) => [set.map(({ name }) => name).join(' and '), order, set] as const),
  )
  test.each(rows)(`${host}: %s, registered %s redwell`, async (_, order, set) => {
    const { differs, hits } = await differences(start, set, order)
    expect(differs).toEqual([])
    expect(hits).toBeGreaterThanOrEqual(HITS_MIN)
  })
}

const FASTIFY = fastifyNeighbours(() => server.url)
const NEST_FASTIFY = onFastify(() => server.url)

/** Rows of docs/compatibility.md, with the versions that were tried. */
export function tried(): string {
  const load = createRequire(import.meta.url)
  const rows: readonly (readonly [string, readonly { readonly name: string }[]])[] = [
    ['Fastify', FASTIFY],
    ['Express 4 and 5', expressNeighbours],
    ['Hono', honoNeighbours],
    ['NestJS on Express', onExpress],
    ['NestJS on Fastify', NEST_FASTIFY],
  ]
  const cell = (name: string): string => {
    if (name.startsWith('hono/') || /^[A-Z]/.test(name)) return `\`${name}\``
    if (name.startsWith('an ')) return name
    const manifest = new URL(`../../node_modules/${name}/package.json`, import.meta.url)
    const { version } = load(manifest.pathname) as { version: string }
    return `\`${name}\` ${version.startsWith('0.') ? version.slice(0, version.lastIndexOf('.')) : version.split('.')[0]}`
  }
  return rows.map(([host, all]) => `- **${host}**: ${all.map(({ name }) => cell(name)).join(', ')}`).join('\n')
}

/** Each one, in one order; the other, and those of NestJS, are in `together`. */
export function alone(orders: readonly ('before' | 'after')[] = ['after']): void {
  suite('Fastify', startFastify, eachOf(FASTIFY), orders)
  suite('Express 5', startExpress(5), eachOf(expressNeighbours), orders)
  suite('Hono', startHono, eachOf(honoNeighbours), orders)
}

export function together(): void {
  alone(['before'])
  suite('Fastify', startFastify, pairsOf(FASTIFY))
  suite('Express 5', startExpress(5), pairsOf(expressNeighbours))
  suite('Express 4', startExpress(4), [...eachOf(expressNeighbours), ...pairsOf(expressNeighbours)])
  suite('Hono', startHono, [...pairsOf(honoNeighbours), honoNeighbours])
  suite('Nest on Express', startNest('express'), [...eachOf(onExpress), ...pairsOf(onExpress)])
  suite('Nest on Fastify', startNest('fastify'), [...eachOf(NEST_FASTIFY), ...pairsOf(NEST_FASTIFY)])
  const many = FASTIFY.filter(({ name }) => name !== '@fastify/secure-session' && name !== '@fastify/jwt')
  suite('Fastify', startFastify, [many, many.toReversed()])
  const all = expressNeighbours.filter(({ name }) => name !== 'passport')
  suite('Express 5', startExpress(5), [all, all.toReversed()])
}

function eachOf<Of>(neighbours: readonly Of[]): Of[][] {
  return neighbours.map((one) => [one])
}
