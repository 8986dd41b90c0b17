import type { Context, MiddlewareHandler, Next } from 'hono'
import type { RouterRoute } from 'hono/types'
import { UsageError } from '../../errors.js'
import { isSafe } from '../../http/index.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { HandlerRun } from '../../route/handler-run.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../../route/options.js'
import type { WriteSession } from '../../route/write-session.js'
import { DeclaredCache, DeclaredWrite } from '../declarations.js'
import { keepAlive } from '../web/refresher.js'
import { CacheableRequest, present } from '../web/request.js'
import { ambientFields, answer, listFields, passOn, readBody, replace } from '../web/response.js'
import { getOwn, nameOf, routeOf, routesIn, setOwn, traitsOf, writtenRoutesIn } from './context.js'

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

function refreshLater(c: Context, cached: CachedRoute<Context>, refresh: Promise<HandlerRun | undefined>): void {
  const refresher = getOwn(c, 'redwell.refresher')
  void refresh.then((own) => own && (refresher === undefined ? own.abandon() : refresher.run(c, own, cached)))
}

/** Runs the handlers behind, and ends the run with what they answer. */
async function run(c: Context, next: Next, own: HandlerRun, cached: CachedRoute<Context>): Promise<void> {
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

async function finish(c: Context, own: HandlerRun, ambient: ReadonlyMap<string, string>): Promise<void> {
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

export type HonoCachePutOptions = CachePutOptions<Context>

export type HonoCacheEvictOptions = CacheEvictOptions<Context>

/** A write that its request's middlewares have announced. */
export interface Writing {
  declared: DeclaredWrite<Context>
  run: WriteSession
}

/**
 * Stores what a PUT or POST answers as the entry of its path's GET. Safe methods pass.
 *
 * @example
 * app.put('/products/:id', cachePut({ ttl: '5m', group: 'products' }), handler)
 */
export function cachePut(options: HonoCachePutOptions): MiddlewareHandler {
  return writer('cachePut', new DeclaredWrite({ where: 'options of cachePut', options }, undefined))
}

/**
 * Invalidates entries when a write has succeeded, before its response is released. Safe methods pass.
 *
 * @example
 * app.delete('/products/:id', cacheEvict({ key: 'path', group: 'lists' }), handler)
 */
export function cacheEvict(options: HonoCacheEvictOptions): MiddlewareHandler {
  return writer('cacheEvict', new DeclaredWrite(undefined, { where: 'options of cacheEvict', options }))
}

function writer(word: string, own: DeclaredWrite<Context>): MiddlewareHandler {
  const begin = async (c: Context, declared: DeclaredWrite<Context>, before?: WriteSession): Promise<Writing> => {
    const write = declared.on(writtenRoutesIn(c, word), () => traitsOf(c))
    return { declared, run: await write.begin(new CacheableRequest(c, nameOf(routeOf(c))), before) }
  }
  return async function redwellWrite(c, next) {
    if (isSafe(c.req.method)) {
      refuseMisplaced(c, word)
      return next()
    }
    const outer = getOwn(c, 'redwell.writing')
    const joint = outer?.declared.join(own)
    if (outer !== undefined && joint !== undefined) {
      Object.assign(outer, await begin(c, joint, outer.run))
      return next()
    }
    const writing = await begin(c, own)
    setOwn(c, 'redwell.writing', writing)
    try {
      await next()
      await end(c, writing)
    } finally {
      // Nothing where it has ended.
      writing.run.abandon()
    }
  }
}

/** `app.use` meets all methods; on a route of its own, a safe one is a mistake. */
function refuseMisplaced(c: Context, word: string): void {
  const route = routeOf(c)
  if (route.method === 'ALL') return
  throw new UsageError(`${word} on ${nameOf(route)}: it belongs on a route that writes (POST, PUT, PATCH, DELETE).`)
}

/** Success is a status below 400 and no throw. */
async function end(c: Context, { declared, run }: Writing): Promise<void> {
  const { res } = c
  if (c.error !== undefined && res.status < 400) return
  const fields = listFields(res.headers)
  const read = declared.readsBody ? await readBody(res.body, res.headers.has('transfer-encoding')) : undefined
  const body = Buffer.isBuffer(read) ? read : undefined
  const headers = await run.finish({ status: res.status, headers: () => fields, body: () => body })
  if (read !== undefined)
    replace(c, Buffer.isBuffer(read) ? read : passOn(read, undefined), res.status, headers ?? fields)
}

/** Any other request by an unsafe method: it invalidates its URI where routes cache it (RFC 9111 section 4.4). */
export async function endUnsafe(c: Context): Promise<void> {
  const { res, error } = c
  if (getOwn(c, 'redwell.writing') !== undefined || getOwn(c, 'redwell.run') !== undefined || error !== undefined)
    return
  const run = await writtenRoutesIn(c, 'redwell').unsafe.begin(new CacheableRequest(c))
  await run.finish({ status: res.status, headers: () => listFields(res.headers), body: () => undefined })
}
