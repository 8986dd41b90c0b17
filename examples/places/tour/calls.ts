import type { Place } from '../database.js'
import type { Call } from './client.js'

export const OWN_PLACE = 2_000_000_001

export const ADA = 'tour-ada'
export const BEN = 'tour-ben'

export function get(target: string, headers: Readonly<Record<string, string>> = {}): Call {
  return { method: 'GET', target, headers }
}

export function head(target: string): Call {
  return { method: 'HEAD', target }
}

export function putPlace({ id, ...body }: Place): Call {
  return { method: 'PUT', target: `/places/${id}`, body }
}

export function deletePlace({ id }: { id: number }): Call {
  return { method: 'DELETE', target: `/places/${id}` }
}

export function getFavourites(user: string): Call {
  return get('/me/favourites', bearer(user))
}

export function putFavourite(user: string, { id }: Place): Call {
  return { method: 'PUT', target: `/me/favourites/${id}`, headers: bearer(user) }
}

export function clearGroup(group: string, token: string): Call {
  return { method: 'POST', target: `/admin/clear/${group}`, headers: bearer(token) }
}

export function getPlace({ id }: Place, headers: Readonly<Record<string, string>> = {}): Call {
  return get(`/places/${id}`, headers)
}

export function getStats({ country }: Place): Call {
  return get(`/countries/${country}/stats`)
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` }
}
