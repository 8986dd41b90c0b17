import { inspect } from 'node:util'
import { createClient } from '@redis/client'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { resolveSettings } from '../../src/redis/resolve-settings.js'

import { type RedisSettings, Secret } from '../../src/redis/settings.js'

/** Not a part of any other text by chance. */
const secret = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }).map((text) => `Zq7${text}!vX`)
const urlSecret = secret.filter((text) => {
  try {
    return encodeURIComponent(text) !== ''
  } catch {
    return false
  }
})

/** Every way in which a log could print something. */
function texts(value: unknown): string {
  const shown = [String(value), JSON.stringify(value), inspect(value, { depth: 20, showHidden: true })]
  if (value instanceof Error) shown.push(value.message, value.stack ?? '')
  return shown.join('\n')
}

function outcome(settings: RedisSettings, env: Record<string, string> = {}): unknown {
  try {
    return resolveSettings(settings, env)
  } catch (error) {
    return error
  }
}

/** Whatever part of the secret a message could have cut off. */
function expectHidden(value: unknown, hidden: string): void {
  const shown = texts(value)
  expect(shown).not.toContain('Zq7')
  expect(shown).not.toContain('!vX')
  expect(shown).not.toContain(hidden)
}

test('a secret shows itself to nobody who does not ask', () => {
  fc.assert(
    fc.property(secret, (text) => {
      const value = new Secret(text)
      expectHidden({ value }, text)
      expectHidden(value, text)
      expect(value.reveal()).toBe(text)
    }),
  )
})

test('settings may be logged: passwords of fields, of sentinels and of variables do not appear', () => {
  fc.assert(
    fc.property(secret, secret, (one, two) => {
      const given: RedisSettings = { password: one, sentinel: { nodes: 's', password: two } }
      const env = {
        REDIS_PASSWORD: one,
        REDIS_SENTINEL: 'true',
        REDIS_SENTINEL_NODES: 's',
        REDIS_SENTINEL_PASSWORD: two,
      }
      for (const value of [
        outcome(given),
        outcome({}, env),
        outcome({ ...given, port: 0 }),
        outcome({ ...given, url: 'redis://h' }),
      ]) {
        expectHidden(value, one)
        expectHidden(value, two)
      }
    }),
  )
})

test('the password of a URL arrives whole and does not appear', () => {
  fc.assert(
    fc.property(urlSecret, (text) => {
      const settings = resolveSettings({ url: `redis://user:${encodeURIComponent(text)}@h:1/2` }, {})
      expect(settings.password?.reveal()).toBe(text)
      expectHidden(settings, text)
    }),
  )
})

test('a URL that is wrong is shown without what may be its password', () => {
  const wrong = [
    (text: string) => `redis://user:${text}@h:x`,
    (text: string) => `redis://:${text}@h/x`,
    (text: string) => `http://:${text}@h`,
    (text: string) => `redis://user:${text}`,
    (text: string) => `redis://h/?password=${text}`,
    (text: string) => `redis://h1,user:${text}@h2`,
    (text: string) => `redis://user:${text}@`,
    (text: string) => `user:${text}@h`,
    (text: string) => `redis://h#${text}`,
  ]
  fc.assert(
    fc.property(secret, fc.constantFrom(...wrong), (text, url) => {
      const value = outcome({ url: url(text) })
      if (value instanceof Error) expectHidden(value, text)
    }),
  )
})

test('a node that is wrong is shown without what may be its password', () => {
  fc.assert(
    fc.property(secret, (text) => {
      for (const node of [`u:${text}@h`, `h:${text}`, `h/${text}`]) {
        expectHidden(outcome({ cluster: { nodes: [node] } }), text)
        expectHidden(outcome({ sentinel: { nodes: node } }), text)
      }
    }),
  )
})

test('a key of TLS does not appear, as text or as bytes', () => {
  const key = '-----BEGIN PRIVATE KEY-----\nZq7!vX\n-----END PRIVATE KEY-----'
  for (const value of [key, Buffer.from(key)]) {
    expectHidden(outcome({ tls: { cert: '-----BEGIN CERTIFICATE-----', key: value } }), key)
  }
})

test('settings with a given client do not show its password', () => {
  const client = createClient({ username: 'u', password: 'Zq7!vX', socket: { host: 'h' } })
  const settings = resolveSettings({ client }, {})
  expect(inspect(settings, { depth: 20 })).not.toContain('Zq7')
  expect(JSON.stringify(settings)).not.toContain('Zq7')
})

test('a value of the wrong type is not shown', () => {
  expectHidden(outcome({ password: ['Zq7!vX'] as unknown as string }), 'Zq7!vX')
})
