import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { run } from '../../src/cli/program.js'
import { silentLogger } from '../support/logger.js'
import { freePort, sharedRedis } from '../support/redis-server.js'
import { buildShop } from './shop.js'

const prefix = `cli-${randomUUID().slice(0, 8)}`
let server: { url: string; close(): Promise<void> }
let app: FastifyInstance

beforeAll(async () => {
  server = await sharedRedis()
  app = await buildShop({ url: server.url, prefix, logger: silentLogger, commandTimeout: '5s' })
  await app.redis.connect()
  for (const url of ['/products/1', '/products/2', '/users/1', '/limited']) await app.inject(url)
})
afterAll(async () => {
  await app.close()
  await server.close()
})

/** What the command prints and returns; standard output is no terminal. */
async function redwell(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' }
  const catchInto = (stream: 'out' | 'err') => (text: unknown) => {
    said[stream] += String(text)
    return true
  }
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(catchInto('out')),
    vi.spyOn(process.stderr, 'write').mockImplementation(catchInto('err')),
  ]
  try {
    return { code: await run(args), ...said }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}

function here(command: string, ...args: string[]): ReturnType<typeof redwell> {
  return redwell(command, ...args, '--url', server.url, '--prefix', prefix)
}

test('keys prints a table without colours, a page of JSON, or a line for each entry', async () => {
  const table = await here('keys', '/products')
  expect(table).toMatchObject({ code: 0, err: '' })
  expect(table.out).toMatch(/^KEY +KIND +STATE +AGE +FRESH FOR +SIZE +GROUPS\n/)
  expect(table.out).toMatch(/^\/products\/1 +200 +fresh /m)
  expect(table.out).not.toContain('\u001b')
  const { items } = JSON.parse((await here('keys', '/products', '--json')).out) as { items: { key: string }[] }
  expect(items.map(({ key }) => key).toSorted()).toEqual(['/products/1', '/products/2'])
  const all = (await here('keys', '--all')).out.trim().split('\n')
  expect(new Set(all.map((line) => line.split('\t')[0]))).toEqual(
    new Set(['/products/1', '/products/2', 'value:users:1']),
  )
})

test('at a narrow terminal keys stay whole, because one copies them', async () => {
  const key = `value:users:${'x'.repeat(90)}`
  await app.redis.cache.namespace('users').set('x'.repeat(90), 1, { group: 'one-group-of-some-length' })
  onTestFinished(async () => void (await app.redis.cache.namespace('users').delete('x'.repeat(90))))
  const [tty, columns] = [process.stdout.isTTY, process.stdout.columns]
  onTestFinished(() => void Object.assign(process.stdout, { isTTY: tty, columns }))
  Object.assign(process.stdout, { isTTY: true, columns: 80 })
  const { out } = await here('keys', 'value:users:x')
  expect(out).toContain(`${key}  `)
  expect(out).toContain('one-gro…')
})

test('at a narrow terminal dates and counts stay whole', async () => {
  const [tty, columns] = [process.stdout.isTTY, process.stdout.columns]
  onTestFinished(() => void Object.assign(process.stdout, { isTTY: tty, columns }))
  Object.assign(process.stdout, { isTTY: true, columns: 40 })
  for (let index = 0; index < 2; index += 1) await app.inject('/limited')
  const { out } = await here('limits')
  expect(out).toMatch(/\d+ in 1m \(all back in \d+s\)/)
})

test('an entry that is invalid is fresh for nothing, and its groups stand between commas', async () => {
  onTestFinished(async () => void (await here('sweep')))
  await app.inject('/owners')
  await app.redis.cache.settled()
  expect((await here('keys', '/owners')).out).toMatch(/ fresh .*(owner:3, my group|my group, owner:3)$/m)
  await app.redis.cache.deleteGroup('owner:3')
  expect((await here('keys', '/owners')).out).toMatch(/ invalid +\d+\S* (?:ms|s) +- /)
})

test('show takes the key with or without its prefix, and shows the body on request', async () => {
  const shown = await here('show', `${prefix}:entry:/products/1`, '--body')
  expect(shown.code).toBe(0)
  expect(shown.out).toMatch(/state +fresh: within its lifetime/)
  expect(shown.out).toMatch(/products +group +allows it/)
  expect(shown.out).toContain('"id": "1"')
  expect(JSON.parse((await here('show', '/products/1', '--json')).out)).toMatchObject({ status: 200, state: 'fresh' })
  expect(await here('show', '/none')).toMatchObject({ code: 1 })
})

test('explain asks the application', async () => {
  const said = await here('explain', 'get', '/products/1', '--header', 'Cache-Control: no-cache')
  expect(said.code).toBe(0)
  expect(said.out).toMatch(/outcome +miss \(request-no-cache\): the client sent/)
})

test('limits are listed, and forgotten with --reset', async () => {
  const { items } = JSON.parse((await here('limits', '--json')).out) as { items: { key: string; identity: string }[] }
  expect(items).toMatchObject([{ identity: '127.0.0.1' }])
  expect((await here('limits', '--reset', items[0]?.key ?? '', '--yes')).code).toBe(0)
  const again = await here('limits', '--reset', items[0]?.key ?? '', '--yes')
  expect([again.code, again.out]).toEqual([1, expect.stringMatching(/^Nothing is counted under .* redwell limits\n$/)])
  // Somebody else's key among them is none.
  await app.redis.connection?.execute(['LPUSH', `${prefix}:limit:foreign`, '1'], `${prefix}:limit:foreign`)
  expect((await here('limits')).out).toBe('There are no counts.\n')
})

test('what destroys is refused without --yes where nobody can be asked', async () => {
  const said = await here('evict', '--group', 'people')
  expect(said).toMatchObject({ code: 2, out: '' })
  expect(said.err).toContain('--yes')
  expect((await here('keys', 'value:')).out).toContain('fresh')
  expect(await here('evict', '--group', 'people', '--yes')).toMatchObject({
    code: 0,
    out: 'Evicted the group people.\n',
  })
  expect((await here('keys', 'value:')).out).toContain('invalid')
  expect((await here('sweep')).out).toMatch(/^Removed 1 of \d entries\.\n$/)
  expect((await here('evict', '--yes')).code).toBe(2)
})

test.each([
  [['--group', 'people', '--per', 'ada'], /^--per: .*--group/],
  [['--key', 'value:users:1', '--host', 'a.example'], /^--host: .*--key/],
  [['/products/1', '--namespace', 'users', '--per', 'ada'], /^--per: .*--namespace/],
  [['--group', 'none', '--all'], /^--all: .*--group/],
  [['/none', '--host', 'a.example', '--all'], /^--all: .*a URL, --host/],
  [['--per', 'ada', '--all'], /^--all: .*--per/],
  [['--per', 'ada'], /^--per: .*URL/],
  [['/products/1', '--per', ''], /^--per: must not be empty/],
])('evict %j, of which a part would be ignored, is refused and evicts nothing', async (args, problem) => {
  await app.inject('/products/1')
  await app.inject('/users/1')
  await app.redis.cache.settled()
  expect(await here('evict', ...args, '--yes')).toEqual({ code: 2, out: '', err: expect.stringMatching(problem) })
  for (const key of ['/products/1', 'value:users:1']) expect((await here('keys', key)).out).toContain(' fresh ')
})

test('several groups, keys and namespaces are evicted at once, and other options may be written once', async () => {
  for (const url of ['/products/1', '/owners', '/users/1']) await app.inject(url)
  await app.redis.cache.settled()
  const said = await here('evict', '--group', 'products', '--group', 'my group', '--namespace', 'users', '--yes')
  expect(said).toMatchObject({
    code: 0,
    out: 'Evicted the group products and the group my group and the namespace users.\n',
  })
  for (const key of ['/products/1', '/owners', 'value:users:1'])
    expect((await here('keys', key)).out).toContain(' invalid ')
  expect((await here('evict', '--group', 'products', '--group', '', '--yes')).err).toMatch(
    /^--group: must not be empty/,
  )
  for (const [command = '', ...args] of [
    ['evict', '/a', '--per', 'ada', '--per', 'bob', '--yes'],
    ['keys', '--limit', '1', '--limit', '2'],
    ['sessions', 'ada', '--revoke', 'x', '--revoke', 'y', '--yes'],
  ])
    expect(await here(command, ...args)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/may be written only once/),
    })
  expect((await redwell('keys', '--url', server.url, '--url', server.url)).code).toBe(2)
})

test('a URL is written as a person writes it, in explain and in evict', async () => {
  const fill = async (): Promise<void> => {
    await app.inject('/products/%C3%A9%20x?b=%C3%BC')
    await app.redis.cache.settled()
  }
  await fill()
  const { cache } = app.redis
  for (const url of ['/products/%c3%a9%20x?b=%C3%BC', 'http://a.example/products/é x?b=ü']) {
    expect([url, (await cache.explain({ url })).outcome]).toEqual([url, 'hit'])
    expect(await cache.deletePath(url)).toMatchObject({ entries: 1 })
    await fill()
  }
  expect((await here('explain', 'GET', '/products/é x?b=ü')).out).toMatch(/outcome +hit/)
  const said = await here('evict', '/products/é x?b=ü', '--yes')
  expect([said.code, said.out]).toEqual([0, expect.stringMatching(/^Evicted the entries of /)])
  expect((await cache.explain({ url: '/products/é x?b=ü' })).outcome).toBe('miss')
})

test('an eviction of what is not there says so; for a key that is exit code 1', async () => {
  const none = await here('evict', '--key', '/none', '--yes')
  expect(none).toMatchObject({ code: 1, out: expect.stringMatching(/^Nothing was stored of the entry \/none\./) })
  const encoded = await here('evict', '--group', 'my!20group', '--yes')
  expect(encoded).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^Nothing was stored of the group my!20group\./),
  })
  expect(JSON.parse((await here('evict', '--key', '/none', '--yes', '--json')).out)).toMatchObject({ found: false })
})

test('a question about evicting a URL names what narrows it', async () => {
  const said = await here('evict', '/products/1', '--per', 'ada', '--host', 'a.example')
  expect(said).toMatchObject({ code: 2, err: expect.stringContaining('of the host a.example of the principal ada') })
})

test('sessions are not all ended where one is named', async () => {
  const said = await here('sessions', 'ada', '--revoke', 'x', '--revoke-all', '--yes')
  expect(said).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^--revoke-all: .*--revoke/) })
})

test('doctor says what is wrong and what to do, and which applications run', async () => {
  const said = await here('doctor', '--json')
  const { findings, processes, settings } = JSON.parse(said.out) as {
    findings: { level: string; about: string; advice: string }[]
    processes: { pid: number }[]
    settings: { prefix: string }
  }
  expect(said.code).toBe(0)
  expect(findings.find(({ about }) => about.startsWith('memory'))).toMatchObject({ level: 'warning' })
  expect(findings.find(({ about }) => about === 'permissions')).toMatchObject({ level: 'ok' })
  expect(processes).toMatchObject([{ pid: process.pid }])
  expect(settings).toMatchObject({ prefix, commandTimeoutMs: 50 })
})

describe('errors', () => {
  test('Redis that cannot be reached is exit code 3, with its address and the reason', async () => {
    const port = await freePort()
    const said = await redwell('keys', '--url', `redis://:hidden@127.0.0.1:${port}`)
    expect(said).toMatchObject({ code: 3, out: '' })
    expect(said.err).toContain(`127.0.0.1:${port}`)
    expect(said.err).toContain('ECONNREFUSED')
    expect(said.err).not.toContain('hidden')
  })

  test('wrong arguments and settings are exit code 2', async () => {
    for (const args of [['nothing'], ['keys', '--limit', 'x'], ['show'], ['keys', '--bogus'], ['explain', 'GET']])
      expect((await redwell(...args)).code).toBe(2)
    for (const args of [
      ['keys', '--cursor', 'abc'],
      ['evict', '', '--yes'],
      ['sessions', ''],
      ['keys', '--all', '--limit', '1'],
      ['explain', 'GET', '/', '--header', 'a: b\nc: d'],
    ])
      expect(await here(args[0] ?? '', ...args.slice(1))).toMatchObject({ code: 2, out: '' })
    for (const url of ['http://x', 'memory:']) expect((await redwell('keys', '--url', url)).code).toBe(2)
    expect((await redwell('keys', '--url', server.url, '--prefix', 'a b')).err).toContain('prefix')
  })

  test('--version is that of the package', async () => {
    expect(await redwell('--version')).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })

  test('help names every command and the exit codes', async () => {
    const { code, out } = await redwell('--help')
    expect(code).toBe(0)
    for (const word of [
      'doctor',
      'stats',
      'keys',
      'show',
      'groups',
      'explain',
      'evict',
      'sweep',
      'watch',
      'limits',
      'Exit codes',
    ])
      expect(out).toContain(word)
  })
})

test('a look from the command line invalidates nothing and leaves nothing behind', async () => {
  onTestFinished(async () => void (await app.inject('/products/1')))
  await app.inject('/products/3')
  const hits = async (): Promise<unknown> => (await app.redis.cache.explain({ url: '/products/3' })).outcome
  for (const [command, ...args] of [['keys'], ['show', '/products/3'], ['groups']] as const)
    await here(command, ...args)
  expect(await hits()).toBe('hit')
})

test('a user that may only read lists, and is told why nothing was evicted', async () => {
  const admin = (...command: string[]) => app.redis.connection?.servers[0]?.inspect(command)
  await admin('ACL', 'SETUSER', prefix, 'on', '>pw', '~*', '+@read', '+@connection', '+info', '+time')
  onTestFinished(async () => void (await admin('ACL', 'DELUSER', prefix)))
  const url = server.url.replace('//', `//${prefix}:pw@`)
  const reader = (...args: string[]) => redwell(...args, '--url', url, '--prefix', prefix)
  expect((await reader('keys', '/products/1')).out).toContain('fresh')
  const said = await reader('evict', '--key', '/products/1', '--yes')
  expect(said).toMatchObject({ code: 1, out: expect.stringMatching(/NOPERM[^.]*\. See .* redwell doctor\n$/) })
  expect((await reader('stats')).err).toMatch(/^Redis refuses it: NOPERM/)
  await admin('ACL', 'SETUSER', prefix, '-zrange')
  const listed = await reader('sessions', 'ada')
  expect(listed).toMatchObject({ code: 1, err: expect.stringMatching(/^Redis refuses it: NOPERM[^\n]*\n$/) })
})

test('doctor names the prefixes that are in use where nothing is under its own', async () => {
  const { code, out } = await redwell('doctor', '--url', server.url, '--prefix', `${prefix}x`)
  expect(code).toBe(0)
  expect(out).toMatch(new RegExp(`^warning +prefix: nothing is stored under '${prefix}x'; in use: .*'${prefix}'`, 'm'))
})

test('doctor does not report what it could not measure', async () => {
  const admin = (...command: string[]) => app.redis.connection?.servers[0]?.inspect(command)
  onTestFinished(async () => void (await admin('ACL', 'DELUSER', prefix)))
  await admin('ACL', 'SETUSER', prefix, 'reset', 'on', '>pw', '-@all')
  const url = server.url.replace('//', `//${prefix}:pw@`)
  const { out } = await redwell('doctor', '--url', url, '--prefix', prefix)
  expect(out).toMatch(/^warning +clock: could not be measured$/m)
  expect(out).toMatch(/^warning +round trip: could not be measured: NOPERM/m)
  expect(out).toMatch(/^PROBLEM +processes: could not be asked: NOPERM[^\n]*\n +See the finding about permissions\.$/m)
})

test('watch says that it has seen nothing', async () => {
  const said = await redwell('watch', '--json', '--seconds', '1', '--url', server.url, '--prefix', `${prefix}y`)
  expect(said).toMatchObject({ code: 0, err: expect.stringMatching(/^No process has reported\./) })
})

test('doctor goes on where little is permitted, and tells a wrong pattern of keys or channels from missing commands', async () => {
  const admin = (...command: string[]) => app.redis.connection?.servers[0]?.inspect(command)
  onTestFinished(async () => void (await admin('ACL', 'DELUSER', prefix)))
  const url = server.url.replace('//', `//${prefix}:pw@`)
  const missingOf = async (...rules: string[]): Promise<unknown> => {
    await admin('ACL', 'SETUSER', prefix, 'reset', 'on', '>pw', ...rules)
    const said = await redwell('doctor', '--json', '--url', url, '--prefix', prefix)
    expect([said.code, said.err]).toEqual([1, ''])
    const { findings } = JSON.parse(said.out) as { findings: { about: string; found: string }[] }
    return findings.find(({ about }) => about === 'permissions')?.found
  }
  const own = [`~${prefix}:*`, `&${prefix}:*`]
  expect(await missingOf(...own, '-@all', '+ping', '+get', '+info')).toMatch(/^refused: \+set, .*\+scan, /)
  expect(await missingOf('~other:*', '&other:*', '+@all')).toBe(`refused: ${own.join(', ')}`)
  expect(await missingOf('~other:*', '&*', '+@all', '-set')).toBe(`refused: +set, ~${prefix}:*`)
})

test('colours are those of the command, and none of what is stored', async () => {
  const [tty, colours] = [process.stdout.isTTY, process.env['FORCE_COLOR']]
  onTestFinished(() => {
    Object.assign(process.stdout, { isTTY: tty })
    if (colours === undefined) delete process.env['FORCE_COLOR']
    else process.env['FORCE_COLOR'] = colours
  })
  await app.redis.cache.set('tinted', 1, { group: '\u001b[31mred' })
  onTestFinished(async () => void (await app.redis.cache.delete('tinted')))
  Object.assign(process.stdout, { isTTY: true })
  process.env['FORCE_COLOR'] = '1'
  const { out } = await here('keys', 'value::tinted')
  expect(out).toContain('\u001b[32mfresh\u001b[39m')
  expect(out).toContain(String.raw`\u001b[31mred`)
})

test('text of others cannot steer the terminal, and is JSON where JSON is asked for', async () => {
  const evil =
    '\u001b[2J\u001b]0;title\u0007\u009b31m\u202egnp.exe\r\nKEY forged\u001b[8m\u001b[31mred\u001b[0m\u{e0001}'
  const redis = app.redis
  await redis.cache.set('evil', { evil }, { group: evil })
  const { items } = JSON.parse((await here('groups', '--json')).out) as { items: { name: string }[] }
  expect(items.map(({ name }) => name)).toContain(evil)
  const said = [await here('groups'), await here('show', 'value::evil', '--body'), await here('evict', '--group', evil)]
  for (const { out, err } of said) {
    const text = out + err
    expect(text).toContain(String.raw`\u001b[2J\u001b]0;title\u0007\u009b31m\u202egnp.exe`)
    expect(text).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u)
    expect(text).toContain(String.raw`\u001b[31mred`)
    expect(text).not.toMatch(/^KEY forged/m)
  }
  await redis.cache.deleteGroup(evil)
  await redis.cache.delete('evil')
})
