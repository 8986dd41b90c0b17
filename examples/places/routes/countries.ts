import type { FastifyInstance } from 'fastify'
import type { Database } from '../database.js'
import { refuse } from '../errors.js'
import { ALL_PLACES, countryGroup, WORLD } from '../groups.js'
import { country } from './schemas.js'

interface CountryParams {
  code: string
}

/** Sums over all rows cost much and change with a write only: kept long, and for longer still should the database fail. */
const LONG = { ttl: { 200: '1h', 404: '1m' }, staleIfError: '1d', query: { only: [] } } as const

export function countryRoutes(app: FastifyInstance, db: Database): void {
  app.get('/countries', { config: { cache: { ...LONG, group: [ALL_PLACES, WORLD] } } }, () => db.countries())

  const options = {
    schema: { params: { type: 'object', properties: { code: country }, required: ['code'] } },
    config: {
      cache: {
        ...LONG,
        group: ({ params }: { params: unknown }) => [ALL_PLACES, countryGroup((params as CountryParams).code)],
      },
    },
  }
  app.get<{ Params: CountryParams }>('/countries/:code/stats', options, async ({ params }, reply) => {
    return (await db.statistics(params.code)) ?? refuse(reply, 404, `There is no place in ${params.code}`)
  })
}
