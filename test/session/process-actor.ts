import type { Session } from '../../src/index.js'
import { RedisSessionStore } from '../../src/session/redis-session-store.js'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { Sessions } from '../../src/session/sessions.js'
import { SessionRecorder } from '../../src/telemetry/outcomes.js'
import { silentLogger } from '../support/logger.js'
import { stepped } from './orders.js'

/*
 * A process of an application that has sessions: makes one request after another as it is told, and asks before each
 * command that it sends. Ends when it is disconnected.
 */

export interface Start {
  readonly url: string
  readonly prefix: string
  readonly cluster: boolean
}

export type Act = keyof typeof ACTS

export interface Request {
  readonly act: Act
  readonly cookie: string | undefined
  readonly user: string
  /** Asks before each command; false: goes on by itself, so many times. */
  readonly stepped: boolean
  readonly times?: number
}

/** A command that waits to be sent. */
export interface Gate {
  readonly gate: string
}

export interface Done {
  readonly setCookie: string | undefined
  /** Reason of a SessionError, or another error; undefined: done. */
  readonly error: string | undefined
}

const ACTS = {
  read: ({ data }) => data.count,
  write: ({ data }) => void (data.count = (data.count ?? 0) + 1),
  writeOther: ({ data }) => void (data.views = (data.views ?? 0) + 1),
  signIn: ({ data }, { user }) => void (data.userId = user),
  signInOther: ({ data }, { user }) => void (data.userId = `${user}-other`),
  signOut: ({ data }) => delete data.userId,
  rotate: (session) => session.rotate(),
  touch: (session) => session.touch(),
  end: (session) => session.end(),
  revokeAll: (_, { user }, sessions) => sessions.revokeAll(user),
} as const satisfies Record<string, (session: Session, request: Request, sessions: Sessions) => unknown>

let go = (): void => {}

process.once('message', (start: Start) => {
  void serve(start).catch((error: unknown) => {
    process.send?.({ setCookie: undefined, error: String(error) } satisfies Done)
    process.exit(1)
  })
})

async function serve({ url, prefix, cluster }: Start): Promise<void> {
  const settings = { url, cluster, commandTimeout: 5, connectTimeout: '5s' } as const
  const connection = new Connection(resolveSettings(settings, {}), silentLogger)
  await connection.connect()
  const store = new RedisSessionStore(connection, prefix)
  const gate = (name: string): Promise<void> => {
    process.send?.({ gate: name } satisfies Gate)
    return new Promise((resolve) => (go = resolve))
  }
  const context = { connection: undefined, replicated: undefined, prefix, settings: {}, logger: silentLogger }
  const sessionsOn = (own: typeof store): Sessions =>
    new Sessions({ ...context, telemetry: new SessionRecorder(), now: () => Date.now() }, { store: own })
  const [free, held] = [sessionsOn(store), sessionsOn(stepped(store, gate) as typeof store)]
  process.on('message', (message: Request | 'go') => {
    if (message === 'go') return go()
    void answer(message.stepped ? held : free, message).then((done) => process.send?.(done))
  })
  process.once('disconnect', () => void connection.close().then(() => process.exit(0)))
  process.send?.({ setCookie: undefined, error: undefined } satisfies Done)
}

async function answer(sessions: Sessions, request: Request): Promise<Done> {
  let setCookie: string | undefined
  try {
    for (let turn = 0; turn < (request.times ?? 1); turn += 1) {
      const session = await sessions.load(request.cookie)
      try {
        await ACTS[request.act](session, request, sessions)
        await session.commit(true)
      } finally {
        ;({ setCookie } = session)
      }
    }
    return { setCookie, error: undefined }
  } catch (error) {
    return { setCookie, error: error instanceof Error && 'reason' in error ? String(error.reason) : String(error) }
  }
}
