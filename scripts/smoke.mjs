// Packs the package, installs it into empty projects, and uses it there as somebody else would.
// `--size` measures only: { bytes, packages } of an installation of nothing but redwell, as JSON on the last line.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureBuilt, ensureInstalled, npm, root, say, stop } from './prepare.mjs'

/** Budget B17. */
const MAX_BYTES = 8 * 1024 * 1024
const MAX_PACKAGES = 6

ensureInstalled()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')

const folder = mkdtempSync(join(tmpdir(), 'redwell-smoke-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
const tarball = pack()

const core = project('core', [])
const size = measure(core)
if (process.argv.includes('--size')) {
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
  say('smoke test passed')
}

function pack() {
  // dist is fresh, so the build that belongs to packing would only repeat it.
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder]
  if (npm(args, { stdio: ['ignore', 'ignore', 'inherit'] }) !== 0) stop('npm pack failed.')
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  return join(folder, file)
}

/** An empty project with redwell and these packages, at the versions this repository was tested with. */
function project(name, packages) {
  const cwd = join(folder, name)
  mkdirSync(cwd)
  writeFileSync(join(cwd, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }))
  const wanted = [tarball, ...packages.map((id) => `${id}@${versionOf(id)}`)]
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', '--omit=dev']
  if (npm(['install', ...quiet, ...wanted], { cwd }) !== 0) stop(`${wanted.join(', ')} could not be installed.`)
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
  const bytes = files.reduce((sum, path) => sum + (statSync(path).isFile() ? statSync(path).size : 0), 0)
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
  runModule(
    core,
    'cjs.cjs',
    `const { createRedis } = require('redwell')\n;(async () => {${use}\nawait redis.close() })()`,
  )
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
  runModule(cwd, 'cjs.cjs', commonJs('redwell/hono', ['redwell', 'cache', 'cachePut', 'cacheEvict', 'cacheGroups']))
  say('a Hono application in TypeScript compiles, libraries checked, and works; so does require(redwell/hono)')
}

function checkExpress() {
  const cwd = project('express', ['express', '@types/express', '@types/node'])
  runApplication(cwd, 'express.ts')
  runModule(cwd, 'cjs.cjs', commonJs('redwell/express', ['redwell', 'cache', 'cachePut', 'cacheEvict', 'cacheGroups']))
  say('an Express application in TypeScript compiles, libraries checked, and works; so does require(redwell/express)')
}

function checkNest() {
  const packages = ['@nestjs/common', '@nestjs/core', '@nestjs/platform-express', 'reflect-metadata', 'rxjs']
  const cwd = project('nestjs', [...packages, '@types/node'])
  // Nest's own declarations name packages that are optional, so that they cannot be checked here.
  runApplication(cwd, 'nestjs.ts', { experimentalDecorators: true, skipLibCheck: true })
  runModule(cwd, 'cjs.cjs', commonJs('redwell/nestjs', ['RedwellModule', 'Cached', 'CachePut', 'CacheEvict']))
  say(
    'a NestJS application in TypeScript compiles without metadata of types, and works; so does require(redwell/nestjs)',
  )
}

/** Compiles an application of test/smoke as its users would, and runs it. */
function runApplication(cwd, file, more = {}) {
  cpSync(join(root, 'test/smoke', file), join(cwd, file))
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable', 'dom', 'dom.iterable'],
    module: 'nodenext',
    strict: true,
    skipLibCheck: false,
    exactOptionalPropertyTypes: true,
    outDir: 'out',
    rootDir: '.',
    types: ['node'],
    ...more,
  }
  // As applications that are bundled resolve types.
  const bundled = { ...compilerOptions, module: 'esnext', moduleResolution: 'bundler', noEmit: true }
  writeFileSync(join(cwd, 'tsconfig.bundler.json'), JSON.stringify({ compilerOptions: bundled, include: [file] }))
  run(cwd, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.bundler.json'], `${file} does not compile`)
  writeFileSync(join(cwd, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: [file] }))
  run(cwd, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'], `${file} does not compile`)
  run(cwd, [`out/${file.replace('.ts', '.js')}`], `${file} does not work`)
}

function commonJs(module, names) {
  return `const found = require('${module}')
    for (const name of ${JSON.stringify(names)}) if (typeof found[name] !== 'function') throw new Error(name)`
}

function runModule(cwd, file, source) {
  writeFileSync(join(cwd, file), source)
  run(cwd, [file], `${file} does not work`)
}

function run(cwd, args, failure) {
  // Without the settings of whoever runs this.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('REDIS_')))
  if (spawnSync(process.execPath, args, { cwd, stdio: 'inherit', env }).status !== 0) stop(`${failure}.`)
}
