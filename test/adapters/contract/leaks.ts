import { describe, expect, test } from 'vitest'
import type { Bed } from '../contract.js'
import type { Call, Route } from '../host.js'

/*
 * Every combination of what selects an entry with what a handler reads, and when, under requests of several people at
 * once: cold, warm, through writes, and stale with refreshes in the background. A handler's text is made of what it reads,
 * so whoever is sent another text was given somebody else's.
 */

/** What a handler reads, and in which ways a combination is safe. */
interface Reading {
  readonly of: (call: Pick<Call, 'header' | 'names'>) => string
  /** Watched: the response is not stored, whatever selects it. */
  readonly watched?: boolean
}

const READINGS = {
  nothing: { of: () => 'page', watched: true },
  cookie: { of: (call) => call.header('cookie') ?? 'none', watched: true },
  authorization: { of: (call) => call.header('authorization') ?? 'none', watched: true },
  names: { of: (call) => String(call.names().includes('cookie')), watched: true },
  user: { of: (call) => call.header('x-user') ?? 'none' },
  tenant: { of: (call) => call.header('x-tenant') ?? 'none' },
  lang: { of: (call) => call.header('accept-language') ?? 'none' },
} satisfies Readonly<Record<string, Reading>>

type Read = keyof typeof READINGS

interface Selection {
  /** Keys of routes are theirs alone: a function of the route's path. */
  readonly cache: NonNullable<Route['cache']> | ((path: string) => NonNullable<Route['cache']>)
  /** What is part of the key. */
  readonly keyed: readonly Read[]
}

const tenant = (call: Call): string | undefined => call.header('x-tenant')

const user = (call: Call): string | undefined => call.header('x-user')

const later = async <T>(value: T): Promise<T> => {
  await new Promise((resolve) => setImmediate(resolve))
  return value
}

/** Whose entry it is. */
const OWNERS: Readonly<Record<string, Selection>> = {
  anybody: { cache: {}, keyed: [] },
  shared: { cache: { shared: true }, keyed: [] },
  user: { cache: { per: user }, keyed: ['user'] },
  'user, later': { cache: { per: (call) => later(user(call)) }, keyed: ['user'] },
  principal: { cache: { per: true }, keyed: ['user'] },
  tenant: { cache: { per: tenant, private: false }, keyed: ['tenant'] },
  'a key': { cache: (path) => ({ key: () => [path] }), keyed: [] },
  'a key of the user': { cache: (path) => ({ key: (call) => [path, user(call) ?? ''] }), keyed: ['user'] },
  'a key of the tenant, later': {
    cache: (path) => ({ key: (call) => later([path, tenant(call) ?? '']) }),
    keyed: ['tenant'],
  },
  'what `storeWhen` allows': { cache: { storeWhen: ({ status }) => status === 200 }, keyed: [] },
  'a key of the user, what `storeWhen` allows': {
    cache: (path) => ({ key: (call) => [path, user(call) ?? ''], storeWhen: ({ status }) => status === 200 }),
    keyed: ['user'],
  },
  'nobody who is signed in': { cache: { when: (call) => user(call) === undefined }, keyed: ['user'] },
}

/** Which variant. */
const VARIANTS: Readonly<Record<string, Selection>> = {
  none: { cache: {}, keyed: [] },
  cookie: { cache: { vary: 'cookie' }, keyed: ['cookie', 'names'] },
  'a cookie': { cache: { vary: { cookie: 'lang' } }, keyed: [] },
  tenant: { cache: { vary: { tenant } }, keyed: ['tenant'] },
  'tenant, later, of a field': {
    cache: { vary: { tenant: { value: (call: Call) => later(tenant(call)), from: 'x-tenant' } } },
    keyed: ['tenant'],
  },
  language: { cache: { vary: 'accept-language' }, keyed: ['lang'] },
  learned: { cache: {}, keyed: ['lang'] },
}

const PEOPLE = [
  {},
  { cookie: 'lang=de' },
  { 'x-user': 'ann', cookie: 'sid=ann; lang=de', 'x-tenant': 'a' },
  { 'x-user': 'bob', cookie: 'sid=bob; lang=de', 'x-tenant': 'a', 'accept-language': 'de' },
  { 'x-user': 'bob', authorization: 'Bearer bob', 'x-tenant': 'b' },
  { authorization: 'Bearer eve', 'x-tenant': 'b', 'accept-language': 'fr' },
] as const satisfies readonly Readonly<Record<string, string>>[]

interface Case {
  readonly path: string
  readonly name: string
  readonly cache: NonNullable<Route['cache']>
  readonly read: Read
  readonly streams: boolean
  readonly learns: boolean
}

function casesOf(hasPrincipal: boolean): readonly Case[] {
  const cases: Case[] = []
  for (const [owner, one] of Object.entries(OWNERS)) {
    if (owner === 'principal' && !hasPrincipal) continue
    for (const [variant, other] of Object.entries(VARIANTS)) {
      const isAsked = hasPrincipal && !['shared', 'user', 'user, later', 'tenant'].includes(owner)
      for (const [read, reading] of Object.entries(READINGS) as [Read, Reading][]) {
        const keyed: readonly Read[] = [...one.keyed, ...other.keyed, ...(isAsked ? ['user' as const] : [])]
        // The author asserts the rest.
        if (reading.watched !== true && !keyed.includes(read)) continue
        const streams = cases.length % 3 === 0
        const path = `/case/${cases.length}`
        const own = [one, other].map(({ cache }) => (typeof cache === 'function' ? cache(path) : cache))
        const cache = Object.assign({ ttl: 60, staleWhileRevalidate: 60 }, ...own) as NonNullable<Route['cache']>
        const name = `${owner}, ${variant}, reads ${read}${streams ? ' late' : ''}`
        cases.push({ path, name, cache, read, streams, learns: variant === 'learned' })
      }
    }
  }
  return cases
}

function routesOf({ path, cache, read, streams, learns }: Case): readonly Route[] {
  const { of } = READINGS[read]
  const headers = learns ? ([['vary', 'Accept-Language']] as const) : []
  const handler: Route['handler'] = async (call) => {
    if (!streams) return { headers, text: await later(of(call)) }
    return {
      headers,
      stream: (async function* () {
        yield 'late '
        yield await later(of(call))
      })(),
    }
  }
  return [
    { method: 'GET', path, cache, handler },
    { method: 'PUT', path, cachePut: cache, handler },
  ]
}

/** The quick suite takes one of so many cases, the long one all. */
const STEP = process.env['REDWELL_TEST_LONG'] === 'true' ? 1 : 29

export function leaks({ start, store }: Bed): void {
  // Stores differ in nothing that decides whose an entry is.
  if (store !== 'memory') return

  describe('whatever selects an entry, and whatever its handler reads', () => {
    test.each([
      ['without', false],
      ['with', true],
    ])(
      'nobody is sent the response of somebody else, in an application %s a principal',
      async (_, hasPrincipal) => {
        const cases = casesOf(hasPrincipal).filter((_case, index) => index % STEP === 0)
        let now = Date.now()
        const { client, redis } = await start(cases.flatMap(routesOf), {
          redis: { now: () => now },
          ...(hasPrincipal && { principal: user }),
        })
        const wrong = new Set<string>()
        let hits = 0
        const ask = async (one: Case, fields: Readonly<Record<string, string>>, method = 'GET'): Promise<void> => {
          const { text, cache } = await client.ask(one.path, { method, headers: fields })
          const own = READINGS[one.read].of({
            header: (name) => fields[name],
            names: () => Object.keys(fields),
          })
          if (cache === 'HIT') hits += 1
          if (text !== (one.streams ? `late ${own}` : own)) wrong.add(`${one.name}: ${own} was sent ${text} (${cache})`)
        }
        for (const one of cases) await Promise.all(PEOPLE.map((fields) => ask(one, fields)))
        for (const [index, one] of cases.entries()) {
          const writer = PEOPLE[index % PEOPLE.length] ?? {}
          await Promise.all([...PEOPLE.map((fields) => ask(one, fields)), ask(one, writer, 'PUT')])
        }
        now += 90_000
        for (const one of cases) await Promise.all(PEOPLE.map((fields) => ask(one, fields)))
        await redis.cache.settled()
        for (const one of cases) await Promise.all(PEOPLE.map((fields) => ask(one, fields)))
        expect([...wrong]).toEqual([])
        expect(hits).toBeGreaterThan(cases.length * 2)
        // All cases are 8,000 requests.
      },
      120_000,
    )
  })
}
