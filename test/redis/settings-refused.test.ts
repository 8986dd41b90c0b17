import { describe, expect, test } from 'vitest'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import type { RedisSettings } from '../../src/redis/settings.js'
import { SettingsError } from '../../src/errors.js'

type Env = Record<string, string>

function problemsOf(settings: RedisSettings, env: Env = {}): readonly string[] {
  try {
    resolveSettings(settings, env)
  } catch (error) {
    if (error instanceof SettingsError) return error.problems
    throw error
  }
  return []
}

describe('refused', () => {
  test.each<[string, RedisSettings, Env, RegExp]>([
    ['port 0', {}, { REDIS_PORT: '0' }, /^REDIS_PORT: 0 is not a whole number from 1 to 65535/],
    ['port 65536', { port: 65_536 }, {}, /^port: /],
    ['a port that is no number', {}, { REDIS_PORT: 'x' }, /^REDIS_PORT: 'x' is not a number/],
    ['db -1', {}, { REDIS_DB: '-1' }, /^REDIS_DB: -1 is not a whole number of at least 0/],
    ['db 1.5', { db: 1.5 }, {}, /^db: /],
    ['no connections', {}, { REDIS_MAX_CONNECTIONS: '0' }, /^REDIS_MAX_CONNECTIONS: /],
    ['a socket time-out of 0', {}, { REDIS_SOCKET_TIMEOUT: '0' }, /^REDIS_SOCKET_TIMEOUT: must be more than 0/],
    ['a connect time-out of 0', { connectTimeout: '0s' }, {}, /^connectTimeout: must be more than 0/],
    ['a negative one', { commandTimeout: -1 }, {}, /^commandTimeout: '-1' is not a duration/],
    ['a negative TTL', {}, { REDIS_DEFAULT_TTL: '-5' }, /^REDIS_DEFAULT_TTL: '-5' is not a duration/],
    ['a boolean of another kind', {}, { REDIS_SSL: 'on' }, /^REDIS_SSL: 'on' is not one of true, false, 1, 0, yes, no/],
    ['a property of objects as a boolean', {}, { REDIS_SSL: 'constructor' }, /^REDIS_SSL: /],
    [
      'cluster and sentinel',
      { cluster: true, sentinel: { nodes: 's' } },
      {},
      /^cluster and sentinel cannot be combined/,
    ],
    [
      'a URL and sentinel',
      { url: 'redis://h', sentinel: { nodes: 's' } },
      {},
      /^a URL and sentinel cannot be combined/,
    ],
    ['sentinel without nodes', {}, { REDIS_SENTINEL: '1' }, /REDIS_SENTINEL_NODES\): must name at least one/],
    ['several nodes without cluster', { url: 'redis://a,b' }, {}, /^url: several nodes require cluster: true/],
    ['a database of a cluster', { cluster: true, db: 1 }, {}, /^db: a cluster has only database 0/],
    ['a cluster in memory', { url: 'memory:', cluster: true }, {}, /^url: memory: is an embedded store/],
    ['a cluster of no nodes', { cluster: { nodes: [] } }, {}, /^cluster.nodes: must name at least one/],
    ['another scheme', { url: 'http://h' }, {}, /^url: 'http:\/\/h' is not redis:/],
    ['a URL without a host', { url: 'redis://' }, {}, /^url: /],
    ['a URL with a query', { url: 'redis://h?db=1' }, {}, /^url: 'redis:\/\/h\/…'/],
    ['a database that is no number', { url: 'redis://h/x' }, {}, /^url: /],
    ['a port of a URL that is too high', { url: 'redis://h:70000' }, {}, /^url: 'h:70000' is not host/],
    [
      'bad percent-encoding',
      { url: 'redis://:%zz@h' },
      {},
      /^url: its username or password is not properly percent-encoded/,
    ],
    [
      'a password beside a provider',
      { password: 'p', credentials: async () => ({ password: 'q' }) },
      {},
      /^credentials/,
    ],
    [
      'a file that is not there',
      { tls: { ca: '/nowhere/ca.pem' } },
      {},
      /REDIS_SSL_CA_CERTS\): the file .* \(ENOENT\)/,
    ],
    ['a certificate without its key', { tls: { cert: Buffer.from('x') } }, {}, /^tls: a client certificate needs both/],
    ['an empty host', { host: ' ' }, {}, /^host: must not be empty/],
    ['another protocol', { resp: 4 as 3 }, {}, /^resp: 4 is not a whole number from 2 to 3/],
    ['a number for a text', { host: 5 as unknown as string }, {}, /^host: is not a string/],
    ['a text for a boolean', { otel: 'no' as unknown as boolean }, {}, /^otel: is not a boolean/],
    ['a port in quotes', { port: '7811' as unknown as number }, {}, /^port: the string '7811' is not a number/],
    ['a text for a number', { db: 'secret' as unknown as number }, {}, /^db: a string is not a number/],
    [
      'a name that is no setting',
      { urll: 'redis://h' } as RedisSettings,
      {},
      /^urll: there is no such option; did you mean `url`\?/,
    ],
    ['another spelling', { default_ttl: 5 } as RedisSettings, {}, /^default_ttl: .* did you mean `defaultTtl`\?/],
    [
      'a name like no other',
      { colour: 'red' } as RedisSettings,
      {},
      /^colour: there is no such option; the options are url, /,
    ],
    [
      'an unknown option of TLS',
      { tls: { cafile: 'a' } as RedisSettings['tls'] },
      {},
      /^tls.cafile: there is no such option; /,
    ],
    [
      'a port with a letter',
      {},
      { REDIS_CLUSTER: '1', REDIS_URL: 'redis://localhost:637x' },
      /^REDIS_URL: 'localhost:637x' is not host/,
    ],
    ['an empty URL', { url: '' }, {}, /^url: '' is not redis:/],
    ['an empty prefix', { prefix: '' }, {}, /^prefix: '' is not 1 to 64/],
    ['a prefix with a brace', { prefix: 'a{b}' }, {}, /^prefix: /],
    ['a prefix with a glob', { prefix: 'a*' }, {}, /^prefix: /],
    ['a prefix with a line end', { prefix: 'a\n' }, {}, /^prefix: /],
    ['a prefix of 65', { prefix: 'a'.repeat(65) }, {}, /^prefix: /],
    ['a prefix with an empty part', { prefix: 'a::b' }, {}, /has an empty part/],
    ['a prefix that ends in a colon', { prefix: 'a:' }, {}, /has an empty part/],
    ...['entry', 'lease', 'group', 'clock', 'wake'].map(
      (word) =>
        [`a prefix with the part ${word}`, { prefix: `a:${word}:b` }, {}, /which is reserved/] as [
          string,
          RedisSettings,
          Env,
          RegExp,
        ],
    ),
  ])('%s', (_, settings, env, problem) => {
    const problems = problemsOf(settings, env)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(problem)
  })

  test.each<[string, RedisSettings, Env, string]>([
    ['a duration in words', { commandTimeout: '50 milliseconds' as '50ms' }, {}, "write '50ms'"],
    ['a number in quotes', { defaultTtl: '60' as '60s' }, {}, "write '60s'"],
    ['a secret in place of a duration', { socketTimeout: 'hunter2x' as '1s' }, {}, 'a string is not a duration'],
    ['a duration in a variable', {}, { REDIS_DEFAULT_TTL: '5m' }, 'is not a number of seconds; write 300'],
    ['a URL without a scheme', {}, { REDIS_URL: 'localhost:6379' }, "did you mean 'redis://localhost:6379'?"],
    ['a URL without a scheme, with a password', { url: 'hunter2@h' }, {}, "url: '***@h' is not redis:"],
  ])('%s, with what to write instead', (_, settings, env, text) => {
    const problems = problemsOf(settings, env)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(text)
    expect(problems[0]).not.toContain('hunter2')
  })

  test('a text in place of the settings', () => {
    const problems = problemsOf({ ...('redis://h' as unknown as RedisSettings) })
    expect(problems[0]).toMatch(/settings must be an object, such as .* not a string/)
  })

  test('all at once, in one error', () => {
    const problems = problemsOf(
      { prefix: '*', commandTimeout: 0 },
      { REDIS_PORT: '0', REDIS_DB: '-1', REDIS_SSL: 'on' },
    )
    expect(problems).toHaveLength(5)
  })

  test.each(['a', 'A-1_b.c', 'shop:v2', 'entries', 'x:grouped', 'a'.repeat(64)])('not the prefix %s', (prefix) => {
    expect(resolveSettings({ prefix }, {}).prefix).toBe(prefix)
  })
})

describe('warned of', () => {
  const warningsOf = (settings: RedisSettings, env: Env = {}) => resolveSettings(settings, env).warnings

  test.each<[string, Env, RegExp]>([
    ['a misspelt variable', { REDIS_PASWORD: 'hunter2' }, /^redwell: REDIS_PASWORD is ignored.*REDIS_PASSWORD\?$/],
    [
      'a service link',
      { REDIS_PORT: 'tcp://10.0.0.1:6379' },
      /^redwell: REDIS_PORT is ignored.*Kubernetes.*enableServiceLinks/,
    ],
    ['a time-out in milliseconds', { REDIS_SOCKET_TIMEOUT: '3000' }, /^redwell: REDIS_SOCKET_TIMEOUT: 3000 .*are 3$/],
  ])('%s', (_, env, warning) => {
    expect(warningsOf({}, env)).toEqual([expect.stringMatching(warning)])
  })

  test('a time-out of code in milliseconds', () => {
    expect(warningsOf({ commandTimeout: 50 })).toEqual([
      expect.stringMatching(/^redwell: commandTimeout: 50 .*'50ms'$/),
    ])
    expect(warningsOf({ commandTimeout: '50s', rateLimitDefaultWindow: 86_400 })).toEqual([])
  })

  test('variables that are like no setting are not ours', () => {
    expect(warningsOf({}, { REDIS_TLS_URL: 'x', REDIS_SERVICE_HOST: 'y', REDISHOST: 'z' })).toEqual([])
  })
})
