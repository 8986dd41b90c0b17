import type { Context, MiddlewareHandler, Next } from 'hono'
import type { RouterRoute } from 'hono/types'
import { UsageError } from '../errors.js'
import type { CacheOptions } from '../route/options.js'
import type { RouteCache } from '../route/route-cache.js'
import type { Run } from '../route/run.js'
import { DeclaredCache } from '../routes-of.js'
import { getOwn, nameOf, routeOf, routesIn, setOwn, traitsOf } from './context.js'
import { keepAlive } from './refresher.js'
import { CacheableRequest, present } from './request.js'
import { ambientFields, answer, listFields, passOn, readBody, replace } from './response.js'

export type HonoCacheOptions = CacheOptions<Context>

/**
 * Answers GET and HEAD from the cache, and stores what the handlers behind it answer to a GET. Other methods pass.
 * Options are checked here; throws OptionsError with all that is wrong.
 *
 * @example
 * app.get('/products/:id', cache({ ttl: '5m', group: 'products' }), handler)
 */
export function cache(options: HonoCacheOptions): MiddlewareHandler {
  const declared = new DeclaredCache({ where: 'options of cache', options })
  return async function redwellCache(c, next) {
    const routes = routesIn(c, 'cache')
    const route = routeOf(c)
    const cached = declared.on(routes, nameOf(route), () => traitsOf(c))
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD' && !cached.anyMethod) return pass(route, next)
    const refresh = getOwn(c, 'redwell.refresher')?.refreshOf(c.req.raw)
    if (refresh !== undefined) return refresh.cache === cached ? run(c, next, refresh.run, cached) : next()
    // Where `app.use` and a route both say `cache`, the inner one decides.
    const outer = getOwn(c, 'redwell.run')
    outer?.abandon()
    const looking = cached.lookup(new CacheableRequest(c))
    const lookup = looking instanceof Promise ? await looking : looking
    if (lookup.outcome !== 'hit') return run(c, next, lookup.run, cached)
    if (outer !== undefined) setOwn(c, 'redwell.run', undefined)
    answer(c, lookup.response)
    if (lookup.refresh !== undefined) refreshLater(c, cached, lookup.refresh)
  }
}

/** `app.use` meets all methods; on a route of its own, another method is a mistake. */
function pass(route: RouterRoute, next: Next): Promise<void> {
  if (route.method === 'ALL') return next()
  throw new UsageError(
    `cache on ${nameOf(route)}: only GET responses are cached. Use cachePut or cacheEvict on a route that writes.`,
  )
}

function refreshLater(c: Context, cached: RouteCache<Context>, refresh: Promise<Run | undefined>): void {
  const refresher = getOwn(c, 'redwell.refresher')
  void refresh.then((own) => own && (refresher === undefined ? own.abandon() : refresher.run(c, own, cached)))
}

/** Runs the handlers behind, and ends the run with what they answer. */
async function run(c: Context, next: Next, own: Run, cached: RouteCache<Context>): Promise<void> {
  const ambient = new Map(ambientFields(c))
  const restore = present(c, own)
  setOwn(c, 'redwell.run', own)
  try {
    await next()
    // An inner `cache` has taken over.
    if (getOwn(c, 'redwell.run') !== own) return
    await finish(c, own, ambient)
    keepAlive(c, () => cached.settled())
  } catch (error) {
    const instead = own.fail()
    if (instead === undefined) throw error
    answer(c, instead)
  } finally {
    restore()
  }
}

async function finish(c: Context, own: Run, ambient: ReadonlyMap<string, string>): Promise<void> {
  const { status, headers: fields, body: stream } = c.res
  // Answered past Hono, or an error that its handler made a success of.
  if (fields.has('x-hono-already-sent') || (c.error !== undefined && status < 400)) return own.abandon()
  const head = { status, headers: listFields(fields) }
  const given = new Set([...ambient.keys()].filter((name) => fields.get(name) === ambient.get(name)))
  const body = await readBody(stream, fields.has('transfer-encoding'))
  if (Buffer.isBuffer(body)) {
    const outgoing = await own.finish(head, body, given)
    return replace(c, outgoing.body, outgoing.status, outgoing.headers)
  }
  const { instead, headers, capture } = await own.stream(head, given)
  if (instead === undefined) return replace(c, passOn(body, capture), status, headers)
  void body.reader.cancel().catch(() => {})
  replace(c, instead.body, instead.status, instead.headers)
}

/**
 * Adds groups to the entry that this response becomes, for those that only the handler knows.
 *
 * @example
 * cacheGroups(c, `owner:${row.owner}`)
 */
export function cacheGroups(c: Context, ...names: string[]): void {
  getOwn(c, 'redwell.run')?.addGroups(names)
  getOwn(c, 'redwell.writing')?.run.addGroups(names)
}
