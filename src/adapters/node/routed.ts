import type { SelectedField } from '../../http/index.js'

/** A request of Express. */
interface RoutedRequest {
  readonly originalUrl: string
  readonly baseUrl?: string | undefined
  readonly url?: string | undefined
}

/**
 * What tells apart requests of one URI: a slash at the end, which handlers of wildcards and redirects see though routers
 * mostly do not mind it, and a URL that a middleware has rewritten, such as by host.
 */
export function routedOf({ originalUrl, baseUrl = '', url = '' }: RoutedRequest): readonly SelectedField[] {
  const fields: SelectedField[] = []
  const path = pathOf(originalUrl)
  if (path.length > 1 && path.endsWith('/')) fields.push([':slash', ''])
  const routed = baseUrl + url
  if (routed !== originalUrl && withoutSlash(routed) !== withoutSlash(originalUrl)) fields.push([':url', routed])
  return fields
}

function pathOf(url: string): string {
  const end = url.indexOf('?')
  return end === -1 ? url : url.slice(0, end)
}

/** A router that answers at its own root sees `/` there. */
function withoutSlash(url: string): string {
  const path = pathOf(url)
  return path.replace(/\/$/, '') + url.slice(path.length)
}
