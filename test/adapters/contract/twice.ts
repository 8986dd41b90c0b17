import { describe, expect, test } from 'vitest'
import type { Bed } from '../contract.js'
import type { Answer, Route } from '../host.js'
import { Browser, dataOf, setCookie } from './sessions.js'

/** A handler that goes on after its answer: what the client gets is the first one, whole. */
export function twice({ host, start }: Bed): void {
  const second: Answer = { status: 404, headers: [['x-second', 'yes']], text: 'a second answer, longer than the first' }
  const answers: readonly (readonly [name: string, again: Answer | Error])[] = [
    ['shorter', { ...second, text: 'no' }],
    ['longer', second],
    ['json', { status: 500, json: { error: 'late' } }],
    ['error', new Error('late')],
  ]
  const kinds: readonly [name: string, route: Omit<Route, 'path' | 'handler'>, data: object | undefined][] = [
    ['plain', { method: 'GET' }, undefined],
    ['change', { method: 'GET' }, { count: 1 }],
    ['sign-in', { method: 'POST' }, { userId: 'ann' }],
    ['cached', { method: 'GET', cache: { ttl: 60 } }, undefined],
    ['evicts', { method: 'POST', cacheEvict: { group: 'lists' } }, undefined],
    ['evicts and changes', { method: 'POST', cacheEvict: { group: 'lists' } }, { count: 1 }],
  ]
  const pathOf = (...names: string[]): string => `/${names.join('/').replaceAll(' ', '-')}`
  const routes = kinds.flatMap(([kind, route, data]) =>
    answers.map(([name, again]): Route => ({
      ...{ ...route, path: pathOf(kind, name) },
      handler(call) {
        if (data !== undefined) Object.assign(dataOf(call), data)
        return { status: 202, headers: [['x-first', 'yes']], text: 'the first', again }
      },
    })),
  )

  describe.skipIf(!host.traits.answersTwice || !host.traits.sessions)('a handler that answers twice', () => {
    test.each(kinds)('the client gets the first answer, whole: %s', async (kind, { method }, data) => {
      const app = await start(routes, { sessions: {} })
      for (const [name] of answers) {
        const reply = await new Browser(app).ask(pathOf(kind, name), method)
        expect([name, reply.status, reply.text, reply.headers['x-first'], reply.headers['x-second']]).toEqual([
          ...[name, 202, 'the first', 'yes', undefined],
        ])
        expect(reply.headers['content-length']).toBe(String(reply.bytes.length))
        expect(setCookie(reply)).toHaveLength(data === undefined ? 0 : 1)
      }
    })
  })
}
