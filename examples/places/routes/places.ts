import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { CacheOptions, CachePutOptions } from 'redwell'
import type { Database, Filter, Place } from '../database.js'
import { refuse } from '../errors.js'
import { ALL_PLACES, countryGroup, placeGroup, WORLD } from '../groups.js'
import { country, newPlace, placeParams, type PlaceParams } from './schemas.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Groups of what a write has changed; the handler knows them when it has committed. */
    changed: readonly string[] | undefined
  }
}

type NewPlace = Omit<Place, 'id'>

interface SearchQuery extends Filter {
  limit: number
  page: number
}

const searchQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    q: { type: 'string', maxLength: 100, pattern: '^[^\\u0000]*$' },
    country,
    limit: { type: 'integer', minimum: 1, maximum: 100, default: 10 },
    page: { type: 'integer', minimum: 1, maximum: 100, default: 1 },
  },
} as const

/** A list may be a little old while a new one is made: nobody waits for the search. A write still ends it at once. */
const SEARCH: CacheOptions<FastifyRequest> = {
  ttl: '1m',
  staleWhileRevalidate: '10m',
  jitter: 0.1,
  group: searchGroups,
  query: { only: ['q', 'country', 'limit', 'page'] },
}

/** GET and PUT of a place describe one and the same entry. "There is none" is an answer, too, but not for long. */
const PLACE = {
  ttl: { 200: '10m', 404: '30s' },
  group: (request) => [ALL_PLACES, placeGroup(idOf(request))],
  query: { only: [] },
} satisfies CachePutOptions<FastifyRequest>

/** Whatever shows the place goes: its lists, its country's numbers, the favourites that name it. */
const CHANGED = (request: FastifyRequest): readonly string[] | undefined => request.changed

function searchGroups(request: FastifyRequest): string[] {
  const { country: code } = request.query as SearchQuery
  return [ALL_PLACES, code === undefined ? WORLD : countryGroup(code)]
}

function idOf(request: FastifyRequest): number {
  return (request.params as PlaceParams).id
}

function groupsOfChange(id: number, ...countries: (string | undefined)[]): string[] {
  const known = countries.filter((code) => code !== undefined)
  return [placeGroup(id), WORLD, ...new Set(known.map(countryGroup))]
}

export function placeRoutes(app: FastifyInstance, db: Database): void {
  app.decorateRequest('changed', undefined)
  search(app, db)
  show(app, db)
  save(app, db)
  remove(app, db)
}

function search(app: FastifyInstance, db: Database): void {
  const options = { schema: { querystring: searchQuery }, config: { cache: SEARCH } }
  app.get<{ Querystring: SearchQuery }>('/places', options, async ({ query }) => {
    const { q, country: code, limit, page } = query
    const [total, places] = await Promise.all([
      countMatches(app, db, { q, country: code }),
      db.search({ q, country: code }, { limit, offset: (page - 1) * limit }),
    ])
    return { total, page, places }
  })
}

/** The number of matches is the same on every page of a search: a value beside the routes, in the same groups. */
function countMatches(app: FastifyInstance, db: Database, filter: Filter): Promise<number> {
  const { q = '', country: code } = filter
  const group = [ALL_PLACES, code === undefined ? WORLD : countryGroup(code)]
  return app.cache.getOrSet(['matches', code ?? '', q], () => db.count(filter), { ttl: '5m', group })
}

function show(app: FastifyInstance, db: Database): void {
  const options = { schema: { params: placeParams }, config: { cache: PLACE } }
  app.get<{ Params: PlaceParams }>('/places/:id', options, async ({ params }, reply) => {
    return (await db.find(params.id)) ?? refuse(reply, 404, `There is no place ${params.id}`)
  })
}

function save(app: FastifyInstance, db: Database): void {
  const options = {
    schema: { params: placeParams, body: newPlace },
    config: { cachePut: PLACE, cacheEvict: { group: CHANGED } },
  }
  app.put<{ Params: PlaceParams; Body: NewPlace }>('/places/:id', options, async (request, reply) => {
    const { id } = request.params
    const { place, formerCountry } = await db.save({ id, ...request.body })
    request.changed = groupsOfChange(id, place.country, formerCountry)
    return reply.code(formerCountry === undefined ? 201 : 200).send(place)
  })
}

function remove(app: FastifyInstance, db: Database): void {
  const options = {
    schema: { params: placeParams },
    config: { cacheEvict: { key: 'path', group: CHANGED, query: { only: [] } } },
  } as const
  app.delete<{ Params: PlaceParams }>('/places/:id', options, async (request, reply) => {
    const { id } = request.params
    const place = await db.remove(id)
    if (place === undefined) return refuse(reply, 404, `There is no place ${id}`)
    request.changed = groupsOfChange(id, place.country)
    return reply.code(204).send()
  })
}
