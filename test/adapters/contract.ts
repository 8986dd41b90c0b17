import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { Redis, type RedisOptions } from '../../src/index.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'
import { Client } from './client.js'
import { addresses } from './contract/addresses.js'
import { applications } from './contract/applications.js'
import { bodies } from './contract/bodies.js'
import { conditions } from './contract/conditions.js'
import { crossings } from './contract/crossings.js'
import { endings } from './contract/endings.js'
import { leaks } from './contract/leaks.js'
import { leaving } from './contract/leaving.js'
import { limits } from './contract/limits.js'
import { mistakes } from './contract/mistakes.js'
import { outage } from './contract/outage.js'
import { principals } from './contract/principals.js'
import { protocol } from './contract/protocol.js'
import { reading } from './contract/reading.js'
import { refreshes } from './contract/refreshes.js'
import { sessionCare } from './contract/session-care.js'
import { sessions } from './contract/sessions.js'
import { sharing } from './contract/sharing.js'
import { stale } from './contract/stale.js'
import { twice } from './contract/twice.js'
import { variants } from './contract/variants.js'
import { waiting } from './contract/waiting.js'
import { writing } from './contract/writing.js'
import type { AppSpec, Host, HostedApp, Route } from './host.js'

export interface Started extends HostedApp {
  readonly client: Client
}

export interface Bed {
  readonly host: Host
  readonly store: 'memory' | 'redis'
  /** Settings of a cache that nobody else uses. */
  settings(): RedisOptions
  /** An application of these routes, stopped when the test ends. */
  start(
    routes: readonly Route[],
    more?: Partial<Omit<AppSpec, 'redis'>> & { redis?: RedisOptions | Redis },
  ): Promise<Started>
  /** Called when the test ends, in reverse order. */
  after(cleanup: () => unknown): void
}

type StoreName = Bed['store']

type Part = keyof typeof PARTS

const PARTS = {
  reading,
  sharing,
  addresses,
  leaks,
  principals,
  variants,
  conditions,
  bodies,
  writing,
  endings,
  stale,
  waiting,
  leaving,
  outage,
  protocol,
  applications,
  mistakes,
  limits,
  refreshes,
  sessions,
  sessionCare,
  twice,
}

/** What is run of the contract. */
interface Extent {
  readonly stores: readonly StoreName[]
  readonly parts: readonly Part[]
}

const ALL: Extent = { stores: ['memory', 'redis'], parts: Object.keys(PARTS) as Part[] }

/** What every adapter must do, on every store; a part of it where another host of the same adapter runs all. */
export function contract(host: Host, { stores = ALL.stores, parts = ALL.parts }: Partial<Extent> = {}): void {
  let server: Awaited<ReturnType<typeof sharedRedis>>
  const cleanups: (() => unknown)[] = []

  beforeAll(async () => {
    server = await sharedRedis()
  })
  afterAll(() => server.close())
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  })

  describe.each(stores)(`${host.name} on %s`, (store) => {
    const settings = (): RedisOptions =>
      store === 'memory'
        ? { url: 'memory:', logger: silentLogger }
        : { url: server.url, prefix: `test:${randomUUID()}`, commandTimeout: 5, logger: silentLogger }
    const bed: Bed = {
      host,
      store,
      settings,
      after: (cleanup) => void cleanups.push(cleanup),
      async start(routes, { redis, ...more } = {}) {
        const own = redis instanceof Redis ? redis : { ...settings(), ...redis }
        const app = await host.start({ redis: own, routes, ...more })
        cleanups.push(() => app.close())
        return { ...app, client: new Client(app.port, app.protocol) }
      },
    }
    for (const part of parts) PARTS[part](bed)
  })
  // These have stores of their own.
  if (parts === ALL.parts && stores.includes('memory')) crossings(host)
}
