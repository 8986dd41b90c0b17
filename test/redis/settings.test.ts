import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import type { ResolvedSettings } from '../../src/redis/settings.js'

type Env = Record<string, string>

/** What a test compares: secrets as text. */
function shown({ password, sentinel, ...rest }: ResolvedSettings) {
  return {
    ...rest,
    password: password?.reveal(),
    sentinel: sentinel && { ...sentinel, password: sentinel.password?.reveal() },
  }
}

let dir: string

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'redwell-settings-'))
  for (const name of ['cert', 'key', 'ca']) writeFileSync(join(dir, name), `the ${name}`)
})
afterAll(() => rmSync(dir, { recursive: true }))

test('without anything given there is a Redis on localhost', () => {
  expect(shown(resolveSettings({}, {}))).toEqual({
    kind: 'standalone',
    nodes: [{ host: 'localhost', port: 6379 }],
    db: 0,
    username: undefined,
    password: undefined,
    credentials: undefined,
    tls: undefined,
    sentinel: undefined,
    maxConnections: undefined,
    socketTimeoutMs: 3000,
    connectTimeoutMs: 1000,
    commandTimeoutMs: 50,
    invalidationTimeoutMs: 1000,
    resp: 3,
    prefix: 'redwell',
    defaultTtlMs: 0,
    warnUnboundedCache: true,
    waitForReplicas: 0,
    trustRestarts: false,
    operate: true,
    otel: false,
    otelRedis: false,
    rateLimit: { rate: undefined, failClosed: false, headers: 'draft' },
    sessions: {},
    client: undefined,
    warnings: [],
  })
})

describe('variables', () => {
  test.each<[string, Env, object]>([
    ['REDIS_URL', { REDIS_URL: 'redis://a:1' }, { nodes: [{ host: 'a', port: 1 }] }],
    ['REDIS_HOST and REDIS_PORT', { REDIS_HOST: 'a', REDIS_PORT: '65535' }, { nodes: [{ host: 'a', port: 65535 }] }],
    ['REDIS_DB', { REDIS_DB: '3' }, { db: 3 }],
    [
      'REDIS_USERNAME and REDIS_PASSWORD',
      { REDIS_USERNAME: 'u', REDIS_PASSWORD: 'p' },
      { username: 'u', password: 'p' },
    ],
    ['REDIS_MAX_CONNECTIONS', { REDIS_MAX_CONNECTIONS: '1' }, { maxConnections: 1 }],
    ['REDIS_SOCKET_TIMEOUT', { REDIS_SOCKET_TIMEOUT: '0.5' }, { socketTimeoutMs: 500 }],
    ['REDIS_SOCKET_CONNECT_TIMEOUT', { REDIS_SOCKET_CONNECT_TIMEOUT: '2' }, { connectTimeoutMs: 2000 }],
    ['REDIS_INVALIDATION_TIMEOUT', { REDIS_INVALIDATION_TIMEOUT: '0.3' }, { invalidationTimeoutMs: 300 }],
    [
      'REDIS_SESSION_COOKIE_…',
      {
        REDIS_SESSION_COOKIE_NAME: 'sid',
        REDIS_SESSION_COOKIE_PATH: '/shop',
        REDIS_SESSION_COOKIE_DOMAIN: 'example.org',
        REDIS_SESSION_COOKIE_HTTPS_ONLY: 'no',
        REDIS_SESSION_COOKIE_SAME_SITE: 'Strict',
      },
      {
        sessions: {
          cookieName: 'sid',
          cookiePath: '/shop',
          cookieDomain: 'example.org',
          cookieHttpsOnly: false,
          cookieSameSite: 'strict',
        },
      },
    ],
    [
      'REDIS_SESSION_…',
      {
        REDIS_SESSION_IDLE_TTL: '1800',
        REDIS_SESSION_ABSOLUTE_TTL: '28800',
        REDIS_SESSION_GC_TTL: '30000',
        REDIS_SESSION_REFRESH_ON_LOAD: 'false',
        REDIS_SESSION_FAIL_CLOSED: '1',
        REDIS_SESSION_PRINCIPAL_KEYS: 'userId, tenant',
      },
      {
        sessions: {
          idleTtlMs: 1_800_000,
          absoluteTtlMs: 28_800_000,
          gcTtlMs: 30_000_000,
          refreshOnLoad: false,
          failClosed: true,
          principalKeys: ['userId', 'tenant'],
        },
      },
    ],
    ['REDIS_CLUSTER', { REDIS_CLUSTER: 'yes' }, { kind: 'cluster', socketTimeoutMs: 1500 }],
    ['REDIS_PREFIX', { REDIS_PREFIX: 'shop:v2' }, { prefix: 'shop:v2' }],
    ['REDIS_DEFAULT_TTL', { REDIS_DEFAULT_TTL: '60' }, { defaultTtlMs: 60_000 }],
    ['REDIS_WARN_UNBOUNDED_CACHE', { REDIS_WARN_UNBOUNDED_CACHE: 'no' }, { warnUnboundedCache: false }],
    ['REDIS_OTEL_ENABLED', { REDIS_OTEL_ENABLED: '1' }, { otel: true }],
    ['REDIS_OTEL_REDIS_ENABLED', { REDIS_OTEL_REDIS_ENABLED: 'TRUE' }, { otelRedis: true }],
    [
      'an empty one, as if it were not set',
      { REDIS_HOST: '', REDIS_PORT: '', REDIS_SSL: '' },
      { db: 0, tls: undefined },
    ],
    ['an unknown one, ignored', { REDIS_COLOUR: 'red' }, { kind: 'standalone' }],
  ])('%s', (_, env, expected) => {
    expect(shown(resolveSettings({}, env))).toMatchObject(expected)
  })

  test.each([
    ['true', true],
    ['1', true],
    ['yes', true],
    ['Yes', true],
    ['false', false],
    ['0', false],
    ['no', false],
    ['NO', false],
  ])('a boolean may be %s', (text, value) => {
    expect(resolveSettings({}, { REDIS_OTEL_ENABLED: text }).otel).toBe(value)
  })

  test('Sentinel has nodes, a master and credentials of its own', () => {
    const env = {
      REDIS_SENTINEL: 'true',
      REDIS_SENTINEL_NODES: 's1, s2:26380,[::1]:5',
      REDIS_SENTINEL_USERNAME: 'su',
      REDIS_SENTINEL_PASSWORD: 'sp',
      REDIS_PASSWORD: 'p',
    }
    expect(shown(resolveSettings({}, env))).toMatchObject({
      kind: 'sentinel',
      password: 'p',
      sentinel: {
        masterName: 'mymaster',
        nodes: [
          { host: 's1', port: 26379 },
          { host: 's2', port: 26380 },
          { host: '::1', port: 5 },
        ],
        username: 'su',
        password: 'sp',
      },
    })
    expect(resolveSettings({}, { ...env, REDIS_SENTINEL_MASTER_NAME: 'm' }).sentinel?.masterName).toBe('m')
    expect(resolveSettings({}, { ...env, REDIS_SENTINEL: '0' }).kind).toBe('standalone')
  })

  test('TLS names files, which are read at once', () => {
    const files = {
      REDIS_SSL_CERTFILE: join(dir, 'cert'),
      REDIS_SSL_KEYFILE: join(dir, 'key'),
      REDIS_SSL_CA_CERTS: join(dir, 'ca'),
      REDIS_SSL_CHECK_HOSTNAME: 'no',
    }
    expect(resolveSettings({}, files).tls).toBeUndefined()
    const { tls } = resolveSettings({}, { ...files, REDIS_SSL: 'yes' })
    expect([String(tls?.cert), tls?.key?.reveal(), String(tls?.ca)]).toEqual(['the cert', 'the key', 'the ca'])
    expect(tls?.checkHostname).toBe(false)
  })
})

describe('URLs', () => {
  test.each<[string, object]>([
    ['redis://h', { nodes: [{ host: 'h', port: 6379 }], db: 0, tls: undefined }],
    ['redis://h:80', { nodes: [{ host: 'h', port: 80 }] }],
    ['redis://h/2', { db: 2 }],
    ['redis://h/', { db: 0 }],
    ['redis://u:p@h', { username: 'u', password: 'p' }],
    ['redis://:p@h', { username: undefined, password: 'p' }],
    ['redis://u:p%40%2F%3A%25@h', { password: 'p@/:%' }],
    ['redis://[::1]:7000/1', { nodes: [{ host: '::1', port: 7000 }], db: 1 }],
    ['REDISS://h', { tls: { checkHostname: true } }],
    ['memory:', { kind: 'memory' }],
    ['memory://', { kind: 'memory' }],
  ])('%s', (url, expected) => {
    expect(shown(resolveSettings({ url }, {}))).toMatchObject(expected)
  })

  test('one with several nodes is a cluster', () => {
    const { kind, nodes } = resolveSettings({ url: 'redis://:p@h1:7000,h2:7001,[::1]:7002', cluster: true }, {})
    expect(kind).toBe('cluster')
    expect(nodes.map(({ host, port }) => `${host} ${port}`)).toEqual(['h1 7000', 'h2 7001', '::1 7002'])
  })
})

describe('precedence', () => {
  test('code wins over the environment', () => {
    const env = { REDIS_HOST: 'env', REDIS_PREFIX: 'env', REDIS_OTEL_ENABLED: 'true', REDIS_DEFAULT_TTL: '5' }
    const settings = resolveSettings({ host: 'code', prefix: 'code', otel: false, defaultTtl: '1m' }, env)
    expect(settings).toMatchObject({ nodes: [{ host: 'code' }], prefix: 'code', otel: false, defaultTtlMs: 60_000 })
  })

  test('an address in code wins over the URL of the environment', () => {
    const env = { REDIS_URL: 'redis://env:1' }
    expect(resolveSettings({ host: 'code' }, env).nodes).toEqual([{ host: 'code', port: 6379 }])
    expect(resolveSettings({ cluster: { nodes: ['code:2'] } }, env).nodes).toEqual([{ host: 'code', port: 2 }])
  })

  test('a URL wins over the fields, with one warning that names those that are ignored', () => {
    const env = { REDIS_PORT: '1', REDIS_PASSWORD: 'secret' }
    const settings = resolveSettings({ url: 'redis://h', db: 2 }, env)
    expect(settings).toMatchObject({ nodes: [{ host: 'h', port: 6379 }], db: 0, password: undefined })
    expect(settings.warnings).toEqual(['redwell: the URL contains the address; ignored: port, db, password'])
  })

  test('nodes of a cluster win over host and port, with one warning', () => {
    const settings = resolveSettings({ cluster: { nodes: 'a,b:7001' } }, { REDIS_HOST: 'h' })
    expect(settings.nodes).toEqual([
      { host: 'a', port: 6379 },
      { host: 'b', port: 7001 },
    ])
    expect(settings.warnings).toEqual(['redwell: cluster.nodes contains the addresses; ignored: host'])
  })

  test('the files of the environment serve a rediss:// URL that is written in code', () => {
    const { tls } = resolveSettings({ url: 'rediss://h' }, { REDIS_SSL_CA_CERTS: join(dir, 'ca') })
    expect(String(tls?.ca)).toBe('the ca')
  })

  test('TLS options of code add to those of the environment, and false switches it off', () => {
    const env = { REDIS_SSL: 'true', REDIS_SSL_CA_CERTS: join(dir, 'ca') }
    expect(resolveSettings({ tls: { checkHostname: false } }, env).tls).toMatchObject({ checkHostname: false })
    expect(String(resolveSettings({ tls: { checkHostname: false } }, env).tls?.ca)).toBe('the ca')
    expect(resolveSettings({ tls: false }, env).tls).toBeUndefined()
  })

  test('Sentinel in code takes what it leaves out from the environment, and false switches it off', () => {
    const env = { REDIS_SENTINEL: 'true', REDIS_SENTINEL_NODES: 'env', REDIS_SENTINEL_PASSWORD: 'p' }
    const { sentinel } = resolveSettings({ sentinel: { nodes: ['code'] } }, env)
    expect(sentinel?.nodes).toEqual([{ host: 'code', port: 26379 }])
    expect(sentinel?.password?.reveal()).toBe('p')
    expect(resolveSettings({ sentinel: false }, env).kind).toBe('standalone')
  })

  test('cluster: false in code switches off REDIS_CLUSTER', () => {
    expect(resolveSettings({ cluster: false }, { REDIS_CLUSTER: 'true' }).kind).toBe('standalone')
  })

  test('a PEM text stands for itself', () => {
    const ca = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----'
    expect(resolveSettings({ tls: { ca } }, {}).tls?.ca).toBe(ca)
  })

  test('a given client is passed on as it is, and connects to nothing by itself', () => {
    const client = createClient()
    expect(resolveSettings({ client }, { REDIS_URL: 'redis://env' }).client).toBe(client)
    expect(client.isOpen).toBe(false)
  })
})
