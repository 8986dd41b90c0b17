import type { SelectedField } from '../../http/index.js'
import type { HostTraits } from '../../route/registry.js'

type PathRule = HostTraits['path']

/**
 * How Express distinguishes paths: a write to /items also affects /items/, which has its own entry. Keys are
 * case-sensitive, because parameters keep their case.
 */
export const EXPRESS_PATH: PathRule = { ignoreTrailingSlash: true }

/** The options of an application of Fastify that say how its router distinguishes paths. */
export type FastifyConfig = PathRule & { readonly routerOptions?: PathRule }

export function fastifyPath(config: FastifyConfig): PathRule {
  const { ignoreTrailingSlash, ignoreDuplicateSlashes } = { ...config, ...config.routerOptions }
  return { ignoreTrailingSlash, ignoreDuplicateSlashes }
}

/** A request of Express. */
interface RoutedRequest {
  readonly originalUrl: string
  readonly baseUrl?: string | undefined
  readonly url?: string | undefined
}

/** A URL that Fastify's `rewriteUrl` has made of the one that was sent. */
export function rewrittenOf({
  originalUrl,
  url,
}: Pick<RoutedRequest, 'originalUrl' | 'url'>): readonly SelectedField[] {
  return url === originalUrl || url === undefined ? NO_FIELDS : [[':url', url]]
}

const NO_FIELDS: readonly SelectedField[] = []

/**
 * What distinguishes requests with one key: a trailing slash, which handlers of wildcards and redirects see although most
 * routers ignore it, and a URL that a middleware has rewritten, for example by host.
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

/** At its own root, a router sees `/`. */
function withoutSlash(url: string): string {
  const path = pathOf(url)
  return path.replace(/\/$/, '') + url.slice(path.length)
}
