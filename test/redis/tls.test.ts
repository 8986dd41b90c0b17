import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RedisClientType } from '@redis/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RedisSettings } from '../../src/redis/settings.js'
import { freePort, hasTls, type RedisServer, startRedis } from '../support/redis-server.js'
import { open, ownServer, refusal } from './open.js'

let dir: string
let server: RedisServer
let port: number
const file = (name: string): string => join(dir, name)

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' })
}

/** A certificate of our own authority, for a host name. */
function certify(name: string, host: string): void {
  openssl(
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.csr`,
    '-subj',
    `/CN=${host}`,
    '-addext',
    `subjectAltName=DNS:${host}`,
  )
  openssl(
    'x509',
    '-req',
    '-in',
    `${name}.csr`,
    '-CA',
    'ca.crt',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-copy_extensions',
    'copy',
    '-days',
    '2',
    '-out',
    `${name}.crt`,
  )
}

const TLS = hasTls()

beforeAll(async () => {
  if (!TLS) return
  dir = mkdtempSync(join(tmpdir(), 'redwell-tls-'))
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-days',
    '2',
    '-subj',
    '/CN=ca',
  )
  certify('server', 'localhost')
  certify('client', 'client')
  port = await freePort()
  const tls = [
    '--tls-port',
    String(port),
    '--tls-cert-file',
    file('server.crt'),
    '--tls-key-file',
    file('server.key'),
    '--tls-ca-cert-file',
    file('ca.crt'),
  ]
  server = await startRedis({ args: tls })
})
afterAll(async () => {
  if (!TLS) return
  await server.close()
  rmSync(dir, { recursive: true })
})

function settings(more: RedisSettings): RedisSettings {
  return { commandTimeout: '5s', connectTimeout: '200ms', ...more }
}

function withClientCertificate() {
  return { cert: file('client.crt'), key: file('client.key'), ca: file('ca.crt') }
}

const reason = TLS ? '' : ': skipped, because this server program was built without it'

describe.skipIf(!TLS)(`TLS${reason}`, () => {
  test('rediss:// connects with files, and for pub/sub as well', async () => {
    const { connection } = open(settings({ url: `rediss://localhost:${port}`, tls: withClientCertificate() }))
    await connection.connect()
    expect(await connection.execute(['PING'], undefined)).toBe('PONG')
    const messages: string[] = []
    await connection.subscribe(
      'c',
      (message) => messages.push(message.toString()),
      () => {},
    )
    await (connection.client as RedisClientType).publish('c', 'over TLS')
    await expect.poll(() => messages).toEqual(['over TLS'])
  })

  test('fields connect with PEM texts', async () => {
    const { cert, key, ca } = withClientCertificate()
    const tls = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8'), ca: readFileSync(ca) }
    const { connection } = open(settings({ host: 'localhost', port, tls }))
    await connection.connect()
    expect(await connection.execute(['PING'], undefined)).toBe('PONG')
  })

  test('a server whose authority is not trusted is refused', async () => {
    const { ca: _, ...tls } = withClientCertificate()
    const { connection } = open(settings({ host: 'localhost', port, tls }))
    expect((await refusal(connection.connect())).message).toMatch(/certificate/)
  })

  test('a certificate for another host is refused, unless the check is switched off', async () => {
    const strict = open(settings({ host: '127.0.0.1', port, tls: withClientCertificate() }))
    expect((await refusal(strict.connection.connect())).message).toMatch(/altnames/)
    const lax = open(settings({ host: '127.0.0.1', port, tls: { ...withClientCertificate(), checkHostname: false } }))
    await lax.connection.connect()
    expect(await lax.connection.execute(['PING'], undefined)).toBe('PONG')
  })

  test('a server that wants a client certificate refuses who has none', async () => {
    const { connection } = open(settings({ host: 'localhost', port, tls: { ca: file('ca.crt') } }))
    const error = await refusal(connection.connect())
    expect(error.reason).toBe('not-ready')
  })

  test('TLS to a plain port and the other way round are named in the message', async () => {
    const plain = await ownServer()
    const overTls = open(settings({ host: '127.0.0.1', port: plain.port, tls: true }))
    expect((await refusal(overTls.connection.connect())).message).toMatch(/TLS is on: does this port accept TLS\?/)
    const without = open(settings({ host: '127.0.0.1', port }))
    expect((await refusal(without.connection.connect())).message).toMatch(/if this port expects TLS, use rediss:\/\//)
  })
})
