import { DEMO_ADMIN_TOKEN } from './app.js'
import type { Place } from './database.js'

export interface Welcome {
  origin: string
  /** What answers are kept in. */
  cache: string
  /** A place that is there; undefined where the table is empty. */
  example: Place | undefined
  count: number
  adminToken: string
}

const SHANGHAI: Place = {
  id: 1_796_236,
  name: 'Shanghai',
  country: 'CN',
  region: '23',
  kind: 'PPLA',
  population: 22_315_474,
  latitude: 31.222_22,
  longitude: 121.458_06,
}

/** Lines to copy and paste. */
export function whatToTry({ origin, cache, example = SHANGHAI, count, adminToken }: Welcome): string {
  const { id, ...rest } = example
  const place = `${origin}/places/${id}`
  const search = `${origin}/places?q=${encodeURIComponent(rest.name.toLowerCase())}&country=${rest.country}&limit=3`
  const body = quoted(JSON.stringify({ ...rest, population: rest.population + 1 }))
  // A token from the environment stays out of terminals and their histories.
  const token = adminToken === DEMO_ADMIN_TOKEN ? adminToken : '$ADMIN_TOKEN'
  return `
${count.toLocaleString('en')} places at ${origin}, cached in ${cache}. Ctrl-C ends it.
Look at x-redis-cache, cache-control and etag.

# A search, twice: the second answer is a HIT
curl -i ${quoted(search)}

# One place; anew in spite of the cache; only if it is not what we have already (304)
curl -i ${place}
curl -i -H 'cache-control: no-cache' ${place}
curl -i -H "if-none-match: $(curl -sI ${place} | tr -d '\\r' | sed -n 's/^etag: //p')" ${place}

# Sums over all rows
curl -i ${origin}/countries
curl -i ${origin}/countries/${rest.country}/stats

# A write: the next GET is a HIT with what was written, and lists and sums are made anew
curl -i -X PUT -H 'content-type: application/json' -d ${body} ${place}
curl -i ${place}

# A list of your own, which nobody else gets
curl -i -X PUT -H 'authorization: Bearer ada' ${origin}/me/favourites/${id}
curl -i -H 'authorization: Bearer ada' ${origin}/me/favourites
curl -i -H 'authorization: Bearer ben' ${origin}/me/favourites

# The operator's page, for admin with the password ${token}: open ${origin}/ops/ in a browser

# Sign in from two browsers, list your devices, and sign out of them
${origin}/account

# Clear a group: places, world, country:<code>, place:<id>, favourites:<user>
curl -i -X POST -H "authorization: Bearer ${token}" ${origin}/admin/clear/country:${rest.country}

`
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
