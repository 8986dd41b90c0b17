import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { FastifySessionOptions } from 'redwell/fastify'
import { refuse } from '../errors.js'
import { devicesPage, signInPage } from './page.js'

declare module 'redwell' {
  interface SessionData {
    /** Who is signed in. */
    userId?: string | undefined
  }
}

/** For the demonstration: everybody has the same. A real one compares with a salted hash of each user's own. */
const PASSWORD = 'places'

export const sessions: FastifySessionOptions = {
  principal: (data) => data.userId,
  maxPerSubject: 20,
  describe: ({ headers }) => deviceOf(headers['user-agent'] ?? ''),
}

interface SignIn {
  user?: string
  password?: string
}

/** Pages on which somebody signs in, sees the devices on which they are, and signs out of them. */
export async function accountRoutes(app: FastifyInstance): Promise<void> {
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_, body, done) =>
    done(null, Object.fromEntries(new URLSearchParams(String(body)))),
  )
  app.addHook('onRequest', refuseOtherSites)
  const signedIn = { config: { session: { onReject: () => ({ status: 303, headers: { location: '/account' } }) } } }

  app.get('/account', async ({ session }, reply) => {
    const { subject } = session
    if (!session.available) return refuse(reply, 503, 'Accounts are unavailable for a moment.')
    if (subject === undefined) return html(reply, signInPage())
    return html(reply, devicesPage(subject, await app.sessions.list(subject, { current: session })))
  })

  app.post<{ Body: SignIn | undefined }>('/account/sign-in', async ({ session, body }, reply) => {
    const user = body?.user?.trim() ?? ''
    if (user === '' || user.length > 64 || body?.password !== PASSWORD)
      return html(reply.code(401), signInPage('That name and password do not belong together.'))
    session.data.userId = user
    session.rotate()
    return reply.redirect('/account', 303)
  })

  app.post('/account/sign-out', signedIn, async ({ session }, reply) => {
    await session.end()
    return reply.redirect('/account', 303)
  })

  app.post<{ Params: { handle: string } }>(
    '/account/devices/:handle/sign-out',
    signedIn,
    async ({ session, params }, reply) => {
      // Of one's own sessions only: the handle of anybody else's is none of theirs.
      await app.sessions.revoke(session.subject ?? '', params.handle)
      return reply.redirect('/account', 303)
    },
  )

  app.post('/account/sign-out-others', signedIn, async ({ session }, reply) => {
    await app.sessions.revokeAll(session.subject ?? '', { except: session })
    return reply.redirect('/account', 303)
  })

  app.post('/account/sign-out-everywhere', signedIn, async ({ session }, reply) => {
    await app.sessions.revokeAll(session.subject ?? '')
    await session.end()
    return reply.redirect('/account', 303)
  })
}

/** Forms of other sites are refused; browsers say where a request comes from. */
async function refuseOtherSites(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  const site = request.headers['sec-fetch-site'] ?? 'same-origin'
  if (request.method === 'GET' || site === 'same-origin' || site === 'none') return undefined
  return refuse(reply, 403, 'This form belongs to another site.')
}

function html(reply: FastifyReply, page: string): FastifyReply {
  return reply.type('text/html; charset=utf-8').send(page)
}

/** The more particular ones first: all of them name others as well. */
const BROWSERS = { Firefox: 'Firefox', Edg: 'Edge', OPR: 'Opera', Chrome: 'Chrome', Safari: 'Safari' }
const SYSTEMS = { Android: 'Android', iPhone: 'iPhone', iPad: 'iPad', Windows: 'Windows', Mac: 'macOS', Linux: 'Linux' }

/** Browser and system, as far as the field says; it is the client's own word. */
function deviceOf(agent: string): string {
  const named = (names: Readonly<Record<string, string>>): string | undefined =>
    Object.entries(names).find(([mark]) => agent.includes(mark))?.[1]
  const [browser = 'A browser', system] = [named(BROWSERS), named(SYSTEMS)]
  return system === undefined ? browser : `${browser} on ${system}`
}
