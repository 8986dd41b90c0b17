import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { CacheBackend, Frozen, Key, Namespace, StandardSchema, ValueEntry } from '../../src/index.js'

declare const cache: CacheBackend
interface User {
  id: number
  tags: string[]
}

describe('CacheBackend', () => {
  test('get', () => {
    expectTypeOf(cache.get('k')).resolves.toEqualTypeOf<unknown>()
    expectTypeOf(cache.get<User>('k')).resolves.toEqualTypeOf<User | undefined>()
    expectTypeOf(cache.get('k', { default: 0 })).resolves.toEqualTypeOf<number>()
    expectTypeOf(cache.get<User | null>('k', { default: null })).resolves.toEqualTypeOf<User | null>()
    expectTypeOf(cache.getMany<User>(['a', 1])).resolves.toEqualTypeOf<(User | undefined)[]>()
    expectTypeOf(cache.getMany(['a'], { default: 0 })).resolves.toEqualTypeOf<number[]>()
    expectTypeOf(cache.ttl('k')).resolves.toEqualTypeOf<number | undefined>()
  })
  test('getEntry narrows by outcome', () => {
    const read = (entry: ValueEntry<User>) => {
      if (entry.outcome === 'hit') return entry.value
      return entry.outcome === 'miss' ? entry.reason : entry.ageMs
    }
    expectTypeOf(read).returns.toEqualTypeOf<User | 'absent' | 'undecodable' | 'invalid' | 'outage' | number>()
  })
  test('getOrSet gives what the loader gives', () => {
    expectTypeOf(cache.getOrSet('k', () => 1)).resolves.toEqualTypeOf<number>()
    expectTypeOf(cache.getOrSet('k', async (): Promise<User> => ({ id: 1, tags: [] }))).resolves.toEqualTypeOf<User>()
    expectTypeOf(cache.getOrSet('k', (): User => ({ id: 1, tags: [] }), { shared: true })).resolves.toEqualTypeOf<{
      readonly id: number
      readonly tags: readonly string[]
    }>()
    void cache.getOrSet<User>('k', (context) => {
      expectTypeOf(context.previous).toEqualTypeOf<{ readonly value: User; readonly ageMs: number } | undefined>()
      expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>()
      return context.unchanged()
    })
  })
  test('getOrSetMany: keys to the loader, a result or an error for each', () => {
    const load = (keys: readonly number[]) => keys.map((id): User | Error => ({ id, tags: [] }))
    expectTypeOf(cache.getOrSetMany([1, 2], load)).resolves.toEqualTypeOf<PromiseSettledResult<User>[]>()
    // @ts-expect-error the loader has to give a list
    void cache.getOrSetMany([1], () => 1)
  })
  test('wrong options do not compile', () => {
    // @ts-expect-error not a duration
    void cache.set('k', 1, { ttl: '5 minutes' })
    // @ts-expect-error a number of seconds, or a text with a unit
    void cache.getOrSet('k', () => 1, { timeout: 'never' })
    // @ts-expect-error a function cannot be a key
    void cache.get(() => 1)
    // @ts-expect-error no such codec
    cache.namespace('n', { compression: { codec: 'gzip9' } })
  })
})

describe('namespace', () => {
  const schema = z.object({ id: z.number(), at: z.coerce.date(), role: z.string().default('guest') })

  test('without a schema: the type that is said', () => {
    const users = cache.namespace<Key, User>('users', { ttl: '5m' })
    expectTypeOf(users).toEqualTypeOf<Namespace<Key, User>>()
    expectTypeOf(cache.namespace('users')).toEqualTypeOf<Namespace<Key, unknown, unknown>>()
    expectTypeOf(users.get(1)).resolves.toEqualTypeOf<User | undefined>()
    expectTypeOf(users.get(1, { default: null })).resolves.toEqualTypeOf<User | null>()
    // @ts-expect-error not a User
    void users.set(1, 'ann')
  })
  test('with a schema: its input is stored, its output is read', () => {
    const visits = cache.namespace('visits', { schema, ttl: '5m' })
    type Out = { id: number; at: Date; role: string }
    expectTypeOf(visits.get(1)).resolves.toEqualTypeOf<Out | undefined>()
    expectTypeOf(visits.getOrSet(1, () => ({ id: 1, at: 'now' }))).resolves.toEqualTypeOf<Out>()
    expectTypeOf(visits.getMany([1])).resolves.toEqualTypeOf<(Out | undefined)[]>()
    expectTypeOf(visits.getEntry(1)).resolves.toEqualTypeOf<ValueEntry<Out>>()
    void visits.getOrSet(1, ({ previous }) => {
      expectTypeOf(previous?.value).toEqualTypeOf<Out | undefined>()
      return { id: 1, at: 0 }
    })
    // @ts-expect-error id is missing
    void visits.set(1, { at: 'now' })
  })
  test('of any Standard Schema library', () => {
    const byValibot = cache.namespace('a', { schema: v.object({ n: v.pipe(v.string(), v.transform(Number)) }) })
    expectTypeOf(byValibot.get(1)).resolves.toEqualTypeOf<{ n: number } | undefined>()
    expectTypeOf(byValibot.set).parameter(1).toEqualTypeOf<{ n: string }>()
    const byArktype = cache.namespace('b', { schema: type({ n: 'number' }) })
    expectTypeOf(byArktype.get(1)).resolves.toEqualTypeOf<{ n: number } | undefined>()
    expectTypeOf<StandardSchemaV1<string, number>>().toExtend<StandardSchema<string, number>>()
    // @ts-expect-error not a schema
    cache.namespace('c', { schema: { parse: () => 1 } })
  })
  test('typed keys', () => {
    const pages = cache.namespace<{ site: string; path: string }, string>('pages', {
      key: ({ site, path }) => [site, path],
      group: ({ site }) => site,
    })
    void pages.get({ site: 'a', path: '/' })
    // @ts-expect-error path is missing
    void pages.get({ site: 'a' })
    const users = cache.namespace('users', { schema, key: (id: number) => id })
    expectTypeOf(users.get).parameter(0).toEqualTypeOf<number>()
    // @ts-expect-error a number
    void users.getMany(['1'])
    void users.getOrSetMany([1], (ids) => {
      expectTypeOf(ids).toEqualTypeOf<readonly number[]>()
      return ids.map((id) => ({ id, at: 0 }))
    })
  })
  test('shared values are read-only all the way down', () => {
    const users = cache.namespace<Key, User>('users', { shared: true })
    expectTypeOf(users.get(1)).resolves.toEqualTypeOf<
      { readonly id: number; readonly tags: readonly string[] } | undefined
    >()
    expectTypeOf(users.set).parameter(1).toEqualTypeOf<User>()
    expectTypeOf(cache.namespace('visits', { schema, shared: true }).get(1)).resolves.toEqualTypeOf<
      { readonly id: number; readonly at: Date; readonly role: string } | undefined
    >()
    expectTypeOf<Frozen<[1, { a: string[] }]>>().toEqualTypeOf<readonly [1, { readonly a: readonly string[] }]>()
  })
})

describe('memoize', () => {
  test('keeps arguments and result', () => {
    const user = cache.memoize((id: number, lang?: string) => Promise.resolve({ id, lang }), { name: 'user' })
    expectTypeOf(user).parameters.toEqualTypeOf<[id: number, lang?: string | undefined]>()
    expectTypeOf(user(1)).resolves.toEqualTypeOf<{ id: number; lang: string | undefined }>()
    expectTypeOf(user.delete).parameters.toEqualTypeOf<[id: number, lang?: string | undefined]>()
    // @ts-expect-error a number
    void user('1')
  })
  test('arguments that cannot be a key need a function that names them', () => {
    const render = (page: Map<string, string>) => page.size
    // @ts-expect-error key is missing
    cache.memoize(render, { name: 'render' })
    expectTypeOf(
      cache.memoize(render, { name: 'render', key: (page) => [...page.keys()] })(new Map()),
    ).resolves.toEqualTypeOf<number>()
    // @ts-expect-error name is missing
    cache.memoize((id: number) => id, {})
  })
})
