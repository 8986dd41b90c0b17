import { afterAll, describe, expect, test } from 'vitest'
import { cache, rateLimit, sessions } from '../src/adapters/express/index.js'
import type { RateObject } from '../src/limit/rate.js'
import {
  type ClusterOptions,
  createRedis,
  type NearOptions,
  Redis,
  RedwellError,
  type SentinelOptions,
  type SessionCookieOptions,
  type TlsOptions,
} from '../src/index.js'
import { silentLogger } from './support/logger.js'
import {
  COUNT,
  DURATION,
  FLAG,
  FUNCTION,
  NAMES,
  OTHERS,
  POSITIVE,
  type Probe,
  PROBES,
  type Rows,
  SECRET,
  TEXT,
  thrownBy,
} from './support/probes.js'

/*
 * Options that are objects of options, as the table of test/bad-input.test.ts: every member with every value. What it
 * takes stands in its row; every other value has to be refused by an error of ours that names option and member.
 */

const redis = createRedis({ url: 'memory:', logger: silentLogger })
afterAll(() => redis.close())

interface Place {
  readonly rows: Readonly<Record<string, readonly Probe[]>>
  readonly declare: (options: never) => unknown
  /** Members without which the others mean nothing. */
  readonly base?: object
  /** Any name is one. */
  readonly anyName?: true
  /** Members whose values are not shown. */
  readonly masked?: readonly string[]
}

const RATE: Rows<RateObject> = { limit: COUNT, window: POSITIVE, burst: COUNT, name: TEXT }
const BAN = { after: COUNT, for: POSITIVE }
const COOKIE: Rows<SessionCookieOptions> = {
  name: TEXT,
  path: OTHERS,
  domain: TEXT,
  secure: FLAG,
  sameSite: OTHERS,
  partitioned: FLAG,
  persistent: FLAG,
}
const TLS: Rows<TlsOptions> = { cert: OTHERS, key: OTHERS, ca: OTHERS, checkHostname: FLAG }
const SENTINEL: Rows<SentinelOptions> = {
  nodes: NAMES,
  masterName: TEXT,
  username: [...TEXT, 'empty'],
  password: [...TEXT, 'empty'],
}
const CLUSTER: Rows<ClusterOptions> = { nodes: NAMES }
const NEAR: Rows<NearOptions> = { maxBytes: OTHERS }

const settings = (option: string) => (options: never) =>
  new Redis({ url: undefined, logger: silentLogger, [option]: options }).close()

const PLACES: Readonly<Record<string, Place>> = {
  rate: {
    rows: RATE,
    declare: (options) => rateLimit({ rate: options, algorithm: 'token-bucket' }),
    base: { limit: 1, window: '1m' },
  },
  ban: {
    rows: BAN,
    declare: (options) => redis.rateLimiter('ban', { rate: '5/minute', ban: options }),
    base: { after: 1, for: '1m' },
  },
  cookie: { rows: COOKIE, declare: (options) => sessions({ cookie: options }) },
  query: {
    rows: { ignore: ['texts', 'none'], only: ['texts', 'none'], sort: FLAG },
    declare: (options) => cache({ ttl: 1, query: options }),
  },
  ttl: {
    rows: { 200: DURATION },
    declare: (options) => cache({ ttl: options }),
  },
  'vary by cookie': {
    rows: { cookie: NAMES },
    declare: (options) => cache({ ttl: 1, vary: options }),
    anyName: true,
  },
  'vary by name': {
    rows: { tenant: FUNCTION },
    declare: (options) => cache({ ttl: 1, vary: options }),
    anyName: true,
  },
  'vary by value': {
    rows: { value: FUNCTION, from: [...NAMES, 'none'] },
    declare: (options) => cache({ ttl: 1, vary: { tenant: options } }),
    base: { value: () => 'a', from: 'x-tenant' },
  },
  tls: { rows: TLS, declare: settings('tls') },
  sentinel: { rows: SENTINEL, declare: settings('sentinel'), base: { nodes: 'a:1' }, masked: ['username', 'password'] },
  cluster: { rows: CLUSTER, declare: settings('cluster') },
  near: { rows: NEAR, declare: settings('near') },
}

async function refusalOf({ declare, base }: Place, options: object): Promise<string> {
  const error = await thrownBy(() => declare({ ...base, ...options } as never))
  if (error === undefined) return 'accepted'
  return error instanceof RedwellError
    ? error.message
    : `no error of redwell: ${error instanceof Error ? error.message : typeof error}`
}

describe.each(Object.entries(PLACES))('%s', (name, place) => {
  const option = name.split(' ')[0] as string

  test.each(Object.entries(place.rows))('%s', async (member, takes) => {
    const wrong: string[] = []
    for (const [probe, value] of Object.entries(PROBES)) {
      const told = await refusalOf(place, { [member]: value })
      const said = `${probe}: ${told.replaceAll('\n', ' ')}`
      if (takes.includes(probe as Probe)) {
        if (told !== 'accepted') wrong.push(said)
      } else if (!told.includes(option) || !told.includes(member)) wrong.push(said)
      else if (place.masked?.includes(member) === true && told.includes(SECRET)) wrong.push(`shows a secret: ${said}`)
    }
    expect(wrong).toEqual([])
  })

  test.skipIf(place.anyName)('a name with a letter more is refused', async () => {
    for (const member of Object.keys(place.rows))
      expect(await refusalOf(place, { [`${member}s`]: 1 })).toContain(`${member}s`)
  })
})
