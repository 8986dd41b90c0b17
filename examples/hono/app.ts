import { type Context, Hono } from 'hono'
import { bearerAuth } from 'hono/bearer-auth'
import { compress } from 'hono/compress'
import { HTTPException } from 'hono/http-exception'
import { cache, cacheEvict, cacheGroups, cachePut, type RedwellMiddleware } from 'redwell/hono'
import type { Book, Library } from './library.js'

/** Readers by their tokens; a real application asks its identity provider. */
const READERS: Readonly<Record<string, string>> = { 'token-of-ann': 'ann', 'token-of-bob': 'bob' }

const signedIn = bearerAuth({ verifyToken: (token: string) => token in READERS })
const readerOf = (c: Context): string => READERS[(c.req.header('authorization') ?? '').slice('Bearer '.length)] ?? ''

export function buildApp(library: Library, connected: RedwellMiddleware): Hono {
  const app = new Hono()

  // Outside of the cache: what is stored is plain, and each client gets what it accepts.
  app.use(compress())
  app.use(connected)

  app.get('/books', cache({ ttl: '5m', group: 'books', query: { only: ['author'] } }), async (c) =>
    c.json(await library.search(c.req.query('author'))),
  )

  app.get('/books/:id', cache({ ttl: { 200: '5m', 404: '10s' }, staleIfError: '1h' }), async (c) => {
    const book = await library.find(c.req.param('id'))
    if (book === undefined) throw new HTTPException(404, { message: 'no such book' })
    // Known only now; `POST /authors/:author/refresh` invalidates by it.
    cacheGroups(c, `author:${book.author}`)
    return c.json(book)
  })

  app.put('/books/:id', signedIn, cachePut({ ttl: '5m', auth: 'shared' }), cacheEvict({ group: 'books' }), async (c) =>
    c.json(await library.save({ ...(await c.req.json<Omit<Book, 'id'>>()), id: c.req.param('id') })),
  )

  app.delete('/books/:id', signedIn, cacheEvict({ key: 'path', group: 'books' }), async (c) => {
    const existed = await library.remove(c.req.param('id'))
    return existed ? c.body(null, 204) : c.json({ error: 'no such book' }, 404)
  })

  app.post('/authors/:author/refresh', signedIn, cacheEvict({ group: (c) => `author:${c.req.param('author')}` }), (c) =>
    c.body(null, 204),
  )

  app.post('/books/:id/loan', signedIn, cacheEvict({ group: (c) => `loans:${readerOf(c)}` }), async (c) =>
    (await library.lend(c.req.param('id'), readerOf(c))) ? c.body(null, 204) : c.json({ error: 'not available' }, 409),
  )

  app.get(
    '/me/loans',
    signedIn,
    cache({ ttl: '1m', private: true, per: readerOf, group: (c) => `loans:${readerOf(c)}` }),
    async (c) => c.json(await library.loansOf(readerOf(c))),
  )

  app.get('/count', async (c) =>
    c.json(
      await c.var.cache.getOrSet('count', async () => (await library.search()).length, { ttl: '1m', group: 'books' }),
    ),
  )

  app.get('/health', (c) => {
    const { status } = c.var.redis
    return c.json({ redis: status }, status === 'ready' ? 200 : 503)
  })

  return app
}
