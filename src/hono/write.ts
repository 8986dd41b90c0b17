import type { Context, MiddlewareHandler } from 'hono'
import { UsageError } from '../errors.js'
import { isSafe } from '../http/index.js'
import type { CacheEvictOptions, CachePutOptions } from '../route/options.js'
import type { WriteRun } from '../route/write-run.js'
import { DeclaredWrite } from '../routes-of.js'
import { getOwn, nameOf, routeOf, setOwn, traitsOf, writtenRoutesIn } from './context.js'
import { CacheableRequest } from './request.js'
import { listFields, passOn, readBody, replace } from './response.js'

export type HonoCachePutOptions = CachePutOptions<Context>
export type HonoCacheEvictOptions = CacheEvictOptions<Context>

/** A write that its request's middlewares have announced. */
export interface Writing {
  declared: DeclaredWrite<Context>
  run: WriteRun
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
  const begin = async (c: Context, declared: DeclaredWrite<Context>, before?: WriteRun): Promise<Writing> => {
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
