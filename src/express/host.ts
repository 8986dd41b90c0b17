import type { Application, Request, Response } from 'express'
import { UsageError } from '../errors.js'
import type { Host } from '../node/host.js'
import { Refresher } from '../node/refresher.js'
import type { Redis } from '../redis.js'
import { routesOf } from '../routes-of.js'

const hosts = new WeakMap<Redis, Host>()

/** The application's Redis as its routes use it. */
export function hostOf(req: Request, res: Response): Host {
  const redis = res.locals.redis as Redis | undefined
  if (redis === undefined) {
    throw new UsageError('res.locals.redis is not there: write `app.use(redwell({ … }))` before the routes that cache.')
  }
  let host = hosts.get(redis)
  if (host === undefined) {
    // Where Express takes /items/ for /items, so does the key. It is not asked about case: parameters always keep theirs.
    const path = { ignoreTrailingSlash: !req.app.enabled('strict routing') }
    host = { routes: routesOf(redis), traits: { path, refreshes: true, stripsHead: false }, refresher: new Refresher() }
    hosts.set(redis, host)
  }
  return host
}

/** Resolves when nothing runs in the background any more. */
export async function settled(redis: Redis): Promise<void> {
  await hosts.get(redis)?.refresher.settled()
}

/** The application that requests enter by. */
export function rootOf(app: Application): Application {
  let root = app
  // `parent` is set by `app.use(subApplication)`; Express documents the event, and types leave the property out.
  for (let parent = parentOf(root); parent !== undefined; parent = parentOf(root)) root = parent
  return root
}

function parentOf(app: Application): Application | undefined {
  return (app as unknown as { parent?: Application }).parent
}
