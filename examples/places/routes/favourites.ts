import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { CacheEvictOptions, CacheOptions } from 'redwell'
import type { Database } from '../database.js'
import { refuse } from '../errors.js'
import { ALL_PLACES, favouritesGroup, placeGroup } from '../groups.js'
import { requireUser } from '../users.js'
import { placeParams, type PlaceParams } from './schemas.js'

/** An answer carries a group for each place in it. */
const FAVOURITES_MAX = 50

/** Each user has an entry of their own, and caches on the way are told that it is private. */
const MINE: CacheOptions<FastifyRequest> = {
  ttl: '10m',
  per: ({ user }) => user,
  private: true,
  group: ({ user }) => [ALL_PLACES, favouritesGroup(user)],
  query: { only: [] },
}

const EVICT_MINE: CacheEvictOptions<FastifyRequest> = { group: ({ user }) => favouritesGroup(user) }

export async function favouriteRoutes(app: FastifyInstance, { db }: { db: Database }): Promise<void> {
  app.decorateRequest('user', '')
  app.addHook('onRequest', requireUser)

  app.get('/me/favourites', { config: { cache: MINE } }, async ({ user }, reply) => {
    const places = await db.favourites(user)
    // A renamed place must not keep its old name in anybody's list.
    reply.cacheGroups(...places.map(({ id }) => placeGroup(id)))
    return { user, places }
  })

  const options = { schema: { params: placeParams }, config: { cacheEvict: EVICT_MINE } }
  app.put<{ Params: PlaceParams }>('/me/favourites/:id', options, async ({ user, params }, reply) => {
    const places = await db.favourites(user)
    if (places.some(({ id }) => id === params.id)) return reply.code(204).send()
    if (places.length >= FAVOURITES_MAX) return refuse(reply, 409, `A list has at most ${FAVOURITES_MAX} places`)
    if (!(await db.addFavourite(user, params.id))) return refuse(reply, 404, `There is no place ${params.id}`)
    return reply.code(204).send()
  })

  app.delete<{ Params: PlaceParams }>('/me/favourites/:id', options, async ({ user, params }, reply) => {
    await db.removeFavourite(user, params.id)
    return reply.code(204).send()
  })
}
