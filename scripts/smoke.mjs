// Packs the package, installs it into empty projects, and uses it there as somebody else would.
// `--size` measures only: { bytes, packages } of an installation of nothing but redwell, as JSON on the last line.
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  lstatSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NODE_PACKAGE, nodeProgram, NODES } from './nodes.mjs'
import { ensureBuilt, ensureInstalled, npm, root, say, stop } from './prepare.mjs'
import { IMPORTS, MISTAKES } from './smoke-mistakes.mjs'

/** Budget B17. */
const MAX_BYTES = 8 * 1024 * 1024
const MAX_PACKAGES = 6

ensureInstalled()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')

const folder = mkdtempSync(join(tmpdir(), 'redwell-smoke-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
const tarball = pack()

/** Older compilers than this repository's, under names of their own and far from its `tsc`. */
const OLD_COMPILERS = { 'typescript 5.9': 'typescript@~5.9.3', 'typescript 6': 'typescript@~6.0.3' }

const QUIET = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', '--omit=dev']

const OPTIONS = {
  target: 'es2023',
  lib: ['es2023', 'esnext.disposable', 'dom', 'dom.iterable'],
  module: 'nodenext',
  strict: true,
  skipLibCheck: false,
  exactOptionalPropertyTypes: true,
  outDir: 'out',
  rootDir: '.',
  types: ['node'],
}

/** As applications that are bundled resolve types. */
const BUNDLED = { module: 'esnext', moduleResolution: 'bundler', noEmit: true }

const RESOLUTIONS = [BUNDLED, {}]

const NEST = ['@nestjs/common', '@nestjs/core', '@nestjs/platform-express', 'reflect-metadata', 'rxjs']

/** Nest's own declarations name packages that are optional, so that they cannot be checked here. */
const DECORATED = { experimentalDecorators: true, skipLibCheck: true }

/** Its types declare `req.session`, too. */
const BESIDE_EXPRESS_SESSION = `import express from 'express'
import session from 'express-session'
import { cache, redwell } from 'redwell/express'
declare module 'express-session' {
  interface SessionData { user?: string }
}
const app = express()
app.use(redwell({ url: 'memory:' }), session({ secret: 'for tests' }))
app.get('/x/:id', cache({ ttl: '1m', per: (req) => req.session.user }), (req, res) => {
  const user: string | undefined = req.session.user
  res.json({ user, id: req.params.id })
})`

const COMMON_JS = `import Fastify from 'fastify'
import { createRedis, type Redis } from 'redwell'
import redwell from 'redwell/fastify'
import { cache } from 'redwell/express'
import { Cached } from 'redwell/nestjs'
import { memoryStores } from 'redwell/testing'
void (async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  const redis: Redis = app.redis
  app.get<{ Params: { id: string } }>('/x/:id', { config: { cache: { ttl: '1m' } } }, async ({ params }) => params.id)
  await app.inject('/x/1')
  await redis.cache.settled()
  const { headers } = await app.inject('/x/1')
  for (const one of [createRedis, cache, Cached, memoryStores]) if (typeof one !== 'function') throw new Error('missing')
  console.log(headers['x-redis-cache'])
  await app.close()
})()`

/** CommonJS programs that are run on newer versions of Node as well. */
const commonJsPrograms = []

const isMeasuring = process.argv.includes('--size')

const compilers = isMeasuring ? [] : installCompilers()

const core = project('core', [])
const size = measure(core)
if (isMeasuring) {
  console.log(JSON.stringify(size))
} else {
  checkSize()
  checkCore()
  checkCoders()
  checkOperate()
  checkFastify()
  checkHono()
  checkExpress()
  checkNest()
  checkTypes()
  checkRunners()
  checkNodes()
  say('smoke test passed')
}

function pack() {
  // dist is fresh, so the build that belongs to packing would only repeat it.
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder]
  if (npm(args, { stdio: ['ignore', 'ignore', 'inherit'] }) !== 0) stop('npm pack failed.')
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  return join(folder, file)
}

/** An empty project with redwell and these packages, at the versions this repository was tested with, and `more`. */
function project(name, packages, more = []) {
  const cwd = join(folder, name)
  mkdirSync(cwd)
  writeFileSync(join(cwd, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }))
  const wanted = [tarball, ...packages.map((id) => `${id}@${versionOf(id)}`), ...more]
  if (npm(['install', ...QUIET, ...wanted], { cwd }) !== 0) stop(`${wanted.join(', ')} could not be installed.`)
  return cwd
}

function versionOf(id) {
  return JSON.parse(readFileSync(join(root, 'node_modules', id, 'package.json'), 'utf8')).version
}

function measure(cwd) {
  const lock = JSON.parse(readFileSync(join(cwd, 'node_modules/.package-lock.json'), 'utf8'))
  const files = readdirSync(join(cwd, 'node_modules'), { recursive: true }).map((path) =>
    join(cwd, 'node_modules', path),
  )
  const bytes = files.reduce((sum, path) => sum + (lstatSync(path).isFile() ? lstatSync(path).size : 0), 0)
  return { bytes, packages: Object.keys(lock.packages).length }
}

function checkSize() {
  say(`installed: ${(size.bytes / 1024 / 1024).toFixed(2)} MB in ${size.packages} packages`)
  if (size.bytes > MAX_BYTES) stop(`that is more than ${MAX_BYTES} bytes.`)
  if (size.packages > MAX_PACKAGES) stop(`that is more than ${MAX_PACKAGES} packages.`)
}

function checkCore() {
  const use = `const redis = createRedis({ url: 'memory:' })
    const load = () => ({ answer: 42 })
    await redis.cache.getOrSet('a', load, { ttl: '1m' })
    if (!(await redis.cache.has('a'))) throw new Error('not cached')`
  runModule(core, 'esm.mjs', `import { createRedis } from 'redwell'\n${use}\nawait redis.close()`)
  runCommonJs(core, `const { createRedis } = require('redwell')\n;(async () => {${use}\nawait redis.close() })()`)
  say("import and require('redwell') work with no framework installed")
  const observe = `import { createRedis } from 'redwell'
    import { subscribe } from 'redwell/diagnostics'
    import { otel } from 'redwell/otel'
    const [warned, heard] = [[], []]
    process.on('warning', ({ message }) => warned.push(message))
    subscribe('redwell:lookup', ({ outcome }) => heard.push(outcome))
    otel()
    const logger = { info() {}, warn: (message) => warned.push(message), error() {} }
    const redis = createRedis({ url: 'memory:', otel: true, logger })
    await redis.cache.getOrSet('a', () => 1, { ttl: '1m' })
    await redis.close()
    await new Promise(setImmediate)
    if (heard.length !== 1) throw new Error('no event')
    // A folder above may have it.
    const there = await import('@opentelemetry/api').then(() => true, () => false)
    if (warned.length !== (there ? 0 : 2)) throw new Error('expected a warning of each: ' + warned.join())`
  runModule(core, 'telemetry.mjs', observe)
  say('without OpenTelemetry, switching it on is a warning')
}

function checkCoders() {
  runModule(
    core,
    'testing.mjs',
    `const { assertCached } = await import('redwell/testing')
    const redis = (await import('redwell')).createRedis({ url: 'memory:' })
    await redis.cache.set('a', 1)
    await assertCached(redis.cache, 'a', 1)
    await redis.close()`,
  )
  runModule(
    project('coders', ['devalue', 'msgpackr']),
    'coders.mjs',
    `import { createRedis } from 'redwell'
    import { devalueCoder } from 'redwell/devalue'
    import { msgpackrCoder } from 'redwell/msgpackr'
    const redis = createRedis({ url: 'memory:' })
    for (const coder of [devalueCoder, msgpackrCoder]) {
      const values = redis.cache.namespace(coder.name, { coder })
      await values.set('a', new Map([['at', new Date(5)]]))
      if ((await values.get('a')).get('at').getTime() !== 5) throw new Error(coder.name)
    }
    await redis.close()`,
  )
  say('redwell/testing works, and with their packages redwell/devalue and redwell/msgpackr')
}

function checkOperate() {
  cpSync(join(root, 'test/smoke/operate.mjs'), join(core, 'operate.mjs'))
  run(core, ['operate.mjs'], 'the redwell command or the dashboard does not work')
  say('the redwell command looks, evicts and sweeps, and the dashboard opens')
}

function checkFastify() {
  const cwd = project('fastify', ['fastify', '@types/node'])
  runApplication(cwd, 'app.ts')
  say(
    'a Fastify application in TypeScript compiles, libraries checked, and its second answer is a HIT with equal bytes',
  )
}

function checkHono() {
  const cwd = project('hono', ['hono', '@types/node'])
  runApplication(cwd, 'hono.ts')
  runCommonJs(cwd, commonJs('redwell/hono', ['redwell', 'cache', 'cachePut', 'cacheEvict', 'cacheGroups']))
  say('a Hono application in TypeScript compiles, libraries checked, and works; so does require(redwell/hono)')
}

function checkExpress() {
  const cwd = project('express', ['express', '@types/express', '@types/node'])
  runApplication(cwd, 'express.ts')
  runCommonJs(cwd, commonJs('redwell/express', ['redwell', 'cache', 'cachePut', 'cacheEvict', 'cacheGroups']))
  say('an Express application in TypeScript compiles, libraries checked, and works; so does require(redwell/express)')
}

function checkNest() {
  const cwd = project('nestjs', [...NEST, '@types/node'])
  runApplication(cwd, 'nestjs.ts', DECORATED)
  runCommonJs(cwd, commonJs('redwell/nestjs', ['RedwellModule', 'Cached', 'CachePut', 'CacheEvict']))
  say(
    'a NestJS application in TypeScript compiles without metadata of types, and works; so does require(redwell/nestjs)',
  )
}

function installCompilers() {
  const cwd = join(folder, 'compilers')
  mkdirSync(cwd)
  writeFileSync(join(cwd, 'package.json'), '{ "private": true }')
  const names = Object.keys(OLD_COMPILERS).map((name) => name.replaceAll(/[ .]/g, '-'))
  const wanted = Object.values(OLD_COMPILERS).map((version, at) => `${names[at]}@npm:${version}`)
  if (npm(['install', ...QUIET, ...wanted], { cwd }) !== 0) stop(`${wanted.join(', ')} could not be installed.`)
  const old = Object.keys(OLD_COMPILERS).map((name, at) => [name, join(cwd, 'node_modules', names[at], 'bin/tsc')])
  return [...old, [`typescript ${versionOf('typescript')}`, join(root, 'node_modules/typescript/bin/tsc')]]
}

/** Compiles an application of test/smoke as its users would, and runs it. */
function runApplication(cwd, file, more = {}) {
  compile(cwd, [file], more, compilers.slice(-1))
  run(cwd, [`out/${file.replace('.ts', '.js')}`], `${file} does not work`)
}

/** The last compilation is the one that runs: its modules are those of Node. */
function compile(cwd, files, more, by) {
  for (const file of files) if (existsSync(pathOf(file))) cpSync(pathOf(file), join(cwd, file))
  for (const [name, compiler] of by)
    for (const resolution of RESOLUTIONS) {
      configure(cwd, files, { ...more, ...resolution })
      const how = resolution.moduleResolution ?? 'nodenext'
      run(cwd, [compiler, '-p', '.'], `${files.join(', ')} does not compile with ${name}, ${how}`)
    }
}

function pathOf(file) {
  return join(root, 'test/smoke', file)
}

function configure(cwd, include, more) {
  const config = { compilerOptions: { ...OPTIONS, ...more }, include }
  writeFileSync(join(cwd, 'tsconfig.json'), JSON.stringify(config))
}

/** The same applications with older compilers. Wrong names and values are refused, with a message that says what is wrong. */
function checkTypes() {
  const types = ['express', 'express-session', 'node'].map((name) => `@types/${name}`)
  const cwd = project('types', ['fastify', 'hono', 'express', ...types, ...NEST])
  writeFileSync(join(cwd, 'beside.ts'), BESIDE_EXPRESS_SESSION)
  compile(cwd, ['beside.ts'], {}, compilers.slice(-1))
  compile(cwd, ['app.ts', 'hono.ts', 'express.ts'], {}, compilers.slice(0, -1))
  compile(cwd, ['nestjs.ts'], DECORATED, compilers.slice(0, -1))
  const header = IMPORTS.trim().split('\n')
  writeFileSync(join(cwd, 'mistakes.ts'), [...header, ...MISTAKES.map(([code]) => code)].join('\n'))
  for (const [name, compiler] of compilers) {
    const said = complaintsOf(cwd, compiler, {})
    for (const [index, [code, message]] of MISTAKES.entries()) {
      const at = `mistakes.ts(${header.length + index + 1},`
      const found = said.split(/^(?=mistakes)/m).filter((one) => one.startsWith(at))
      const isRight = message === undefined ? found.length === 0 : found.join('').includes(message)
      if (!isRight) stop(`${name} says of \`${code}\`\n${found.join('')}instead of: ${message ?? 'nothing'}`)
    }
  }
  checkCommonJs(cwd, compilers[0])
  const names = compilers.map(([name]) => name).join(', ')
  say(`the applications compile with ${names}, which refuse wrong names and values in words`)
}

/** A program in CommonJS by a resolution that knows nothing of `exports`, as older applications are compiled. */
function checkCommonJs(cwd, [name, compiler]) {
  const { exports, typesVersions } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const typed = Object.entries(exports).flatMap(([entry, { types }]) => (types === undefined ? [] : [[entry, types]]))
  const said = Object.fromEntries(typed.slice(1).map(([entry, types]) => [entry.slice(2), [types.slice(2)]]))
  if (JSON.stringify(typesVersions) !== JSON.stringify({ '*': said }))
    stop('typesVersions has other types than exports')
  writeFileSync(join(cwd, 'common.cts'), COMMON_JS)
  const old = { module: 'commonjs', moduleResolution: 'node10', esModuleInterop: true }
  configure(cwd, ['common.cts'], { ...DECORATED, ...old })
  const compiled = spawnSync(process.execPath, [compiler, '-p', '.'], { cwd, encoding: 'utf8' })
  const ran = spawnSync(process.execPath, ['out/common.cjs'], { cwd, encoding: 'utf8' })
  if (compiled.status !== 0 || ran.stdout !== 'HIT\n')
    stop(`CommonJS by ${name}: ${compiled.stdout}${ran.stdout}${ran.stderr}`)
}

function complaintsOf(cwd, compiler, more) {
  configure(cwd, ['mistakes.ts'], { ...DECORATED, noEmit: true, ...more })
  return spawnSync(process.execPath, [compiler, '-p', '.'], { cwd, encoding: 'utf8' }).stdout
}

/** Test runners that load modules in ways of their own. */
function checkRunners() {
  const body = `test('a cached route', async () => {
    const app = new Hono().use(redwell({ url: 'memory:' })).get('/x', cache({ ttl: 60 }), (c) => c.text('x'))
    const outcomes = []
    for (const _ of [1, 2]) outcomes.push((await app.request('/x')).headers.get('x-redis-cache'))
    expect(outcomes).toEqual(['MISS', 'HIT'])
  })`
  const imports = `import { Hono } from 'hono'\nimport { cache, redwell } from 'redwell/hono'\n`
  const cwd = project('runners', ['hono', 'vitest'], ['jest@^30'])
  writeFileSync(join(cwd, 'vitest.test.mjs'), `import { expect, test } from 'vitest'\n${imports}${body}`)
  run(cwd, ['node_modules/vitest/vitest.mjs', 'run', 'vitest.test.mjs'], 'a test under Vitest does not work')
  writeFileSync(join(cwd, 'jest.test.js'), `${imports}${body}`)
  const jest = ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', 'jest.test.js']
  run(cwd, jest, 'a test under Jest does not work')
  say('tests of a cached route run under Vitest and Jest')
}

function checkNodes() {
  for (const major of NODES) {
    const node = nodeProgram(major)
    if (node === undefined) say(`Node ${major} cannot be had here (npm install ${NODE_PACKAGE}@${major}): not tried`)
    else for (const cwd of commonJsPrograms) run(cwd, ['cjs.cjs'], `require does not work on Node ${major}`, node)
  }
  say(`require(redwell) works on Node ${[process.version, ...NODES].join(', ')}`)
}

function commonJs(module, names) {
  return `const found = require('${module}')
    for (const name of ${JSON.stringify(names)}) if (typeof found[name] !== 'function') throw new Error(name)`
}

function runCommonJs(cwd, source) {
  commonJsPrograms.push(cwd)
  runModule(cwd, 'cjs.cjs', source)
}

function runModule(cwd, file, source) {
  writeFileSync(join(cwd, file), source)
  run(cwd, [file], `${file} does not work`)
}

function run(cwd, args, failure, node = process.execPath) {
  // Without the settings of whoever runs this.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('REDIS_')))
  if (spawnSync(node, args, { cwd, stdio: 'inherit', env }).status !== 0) stop(`${failure}.`)
}
