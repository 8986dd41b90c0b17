/** JSON Schemas that several routes share. */

/** Postgres' int. */
const INT_MAX = 2_147_483_647

export const country = { type: 'string', pattern: '^[A-Z]{2}$', description: 'ISO 3166 code of two letters' } as const

const placeId = { type: 'integer', minimum: 1, maximum: INT_MAX } as const

export const placeParams = { type: 'object', properties: { id: placeId }, required: ['id'] } as const

/** What schemas make of the path: numbers are numbers. */
export interface PlaceParams {
  id: number
}

export const newPlace = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'country', 'population', 'latitude', 'longitude'],
  properties: {
    // Postgres' text has no place for a NUL.
    name: { type: 'string', minLength: 1, maxLength: 200, pattern: '^[^\\u0000]*$' },
    country,
    region: { type: 'string', maxLength: 20, pattern: '^[\\w.-]*$', default: '' },
    kind: { type: 'string', maxLength: 10, pattern: '^[A-Z0-9]+$', default: 'PPL' },
    population: { type: 'integer', minimum: 0, maximum: INT_MAX },
    latitude: { type: 'number', minimum: -90, maximum: 90 },
    longitude: { type: 'number', minimum: -180, maximum: 180 },
  },
} as const
