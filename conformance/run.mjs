import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { root, say, stop } from '../scripts/prepare.mjs'
import { startRedis } from '../test/support/redis-server.ts'
import { compare } from './compare.mjs'
import { unexpected } from './expected.mjs'
import { collect, start } from './processes.mjs'
import { printDifferences, printScores, undocumented } from './report.mjs'
import { judge } from './score.mjs'
import { engineOf, loadSections } from './sections.mjs'
import { fetchSuite, versionOf } from './suite.mjs'

const { values: options } = readArguments({
  options: {
    preset: { type: 'string', default: 'rfc9111' },
    store: { type: 'string', default: 'memory' },
    variant: { type: 'string', default: 'fastify' },
    suite: { type: 'string' },
    id: { type: 'string', multiple: true, default: [] },
    parallel: { type: 'string' },
    json: { type: 'string' },
    compare: { type: 'boolean', default: false },
    optional: { type: 'boolean', default: false },
  },
})

/** What is meant is in docs/conformance.md. */
function readArguments(config) {
  try {
    return parseArgs(config)
  } catch (error) {
    return stop(error.message)
  }
}

/**
 * Tests at once. Fewer on Redis: its commands have a deadline of 50 ms, beyond which the cache is left out of a request.
 */
const PARALLEL = { memory: '100', redis: '20' }
/** Tests that fail unexpectedly are run again, ever fewer at a time: on a busy machine three seconds can be five. */
const PARALLEL_AGAIN = ['10', '1']
const PROXIES = { fastify: 'examples/reverse-proxy/server.ts', hono: 'examples/reverse-proxy/hono.ts' }

for (const [name, values] of Object.entries({
  preset: ['app', 'rfc9111'],
  store: Object.keys(PARALLEL),
  variant: Object.keys(PROXIES),
})) {
  if (!values.includes(options[name])) stop(`--${name} ${options[name]} is not one of ${values.join(', ')}.`)
}

const expected = JSON.parse(readFileSync(join(root, 'conformance/expected.json'), 'utf8'))
/** Whether there is a list of what may fail: of the release that is fetched and of the suite's current state, for `rfc9111`. */
const isGated = options.preset === 'rfc9111' && options.id.length === 0
const accepted = isGated ? failuresOf(expected) : {}

/** What may fail, and why; the current state has no case that the release has not. */
function failuresOf({ failures, current }) {
  if (options.suite === undefined) return failures
  return Object.fromEntries(current.failures.map((id) => [id, failures[id]]))
}

const folder = options.suite ?? fetchSuite()
if (folder === undefined) {
  const message = 'the HTTP cache test suite cannot be fetched from the package registry'
  if (!options.optional) stop(`${message}.`)
  say(`${message}: the conformance of the reverse proxy was NOT tested.`)
  process.exit(0)
}

const engine = engineOf(folder)
const sections = await loadSections(engine)
if (options.compare) await compare(folder, sections)
else await measure()

async function measure() {
  const origin = await start([join(root, 'conformance/origin.mjs'), engine], { cwd: folder })
  const redis = options.store === 'redis' ? await startRedis() : undefined
  try {
    const proxy = await startProxy(origin.line, redis?.url ?? 'memory:')
    try {
      const base = proxy.line.match(/http:\/\/\S+/)[0]
      if (options.id.length === 1) return console.log(await runClient(base, options.id, '1'))
      tell(await run(base))
    } finally {
      await proxy.stop()
      if (options.json !== undefined) save(`${options.json}.log`, proxy.log())
    }
  } finally {
    await origin.stop()
    await redis?.close()
  }
}

function startProxy(originPort, redisUrl) {
  const settings = { HOST: '127.0.0.1', PORT: '0', UPSTREAM_URL: `http://127.0.0.1:${originPort}` }
  const env = { ...process.env, ...settings, REDIS_URL: redisUrl, PRESET: options.preset }
  return start(['--import', 'tsx', join(root, PROXIES[options.variant])], { cwd: root, env })
}

async function run(base) {
  const startedAt = Date.now()
  let results = parse(await runClient(base, options.id, options.parallel ?? PARALLEL[options.store]))
  for (const parallel of PARALLEL_AGAIN) {
    const failed = Object.keys(results).filter((id) => results[id] !== true && accepted[id] === undefined)
    if (failed.length > 0) results = { ...results, ...parse(await runClient(base, failed, parallel)) }
    // Without a list of what fails there is nothing unexpected.
    if (!isGated) break
  }
  say(`${Object.keys(results).length} tests in ${Math.round((Date.now() - startedAt) / 1000)} s`)
  return results
}

function runClient(base, ids, parallel) {
  return collect([join(root, 'conformance/client.mjs'), engine, base, parallel, ...ids], { cwd: folder })
}

function parse(output) {
  return JSON.parse(output.trimEnd().split('\n').at(-1))
}

function tell(results) {
  const judged = judge(sections, results)
  printScores(judged, sections)
  if (options.json !== undefined) save(options.json, JSON.stringify(results, null, 2))
  if (options.suite === undefined && options.id.length === 0) tellDocs(judged)
  if (!isGated) return
  const differences = unexpected(judged, accepted)
  printDifferences(differences, versionOf(folder))
  if (differences.length > 0) process.exitCode = 1
}

/** docs/conformance.md has the scores of the release. */
function tellDocs(judged) {
  const wrong = undocumented(readFileSync(join(root, 'docs/conformance.md'), 'utf8'), options.preset, judged, sections)
  if (wrong.length === 0) return
  console.log(`\nOtherwise than docs/conformance.md says:\n${wrong.map((line) => `  ${line}`).join('\n')}`)
  process.exitCode = 1
}

function save(file, text) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}
