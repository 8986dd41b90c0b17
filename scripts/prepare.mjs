// What the other scripts need done first. Only modules of Node itself here: nothing else may be installed yet.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const OLDEST_NODE = [20, 19]

export function say(line) {
  process.stdout.write(`redwell: ${line}\n`)
}

/** Ends the process with what to do next. */
export function stop(message) {
  process.stderr.write(`redwell: ${message}\n`)
  process.exit(1)
}

/** Installs the dependencies unless node_modules holds what package-lock.json asks for. */
export function ensureInstalled() {
  requireNode()
  const lock = readJson('package-lock.json')
  const missing = lock === undefined ? !existsSync(join(root, 'node_modules')) : whatIsMissing(lock)
  if (missing === false) return
  // A link to the packages of another checkout, such as that of a git worktree: what is there is not ours to change.
  if (lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink())
    return say(`${missing}; node_modules is a link, so nothing is installed`)
  const command = lock !== undefined && isCurrent(lock) ? 'ci' : 'install'
  say(`${missing === true ? 'no dependencies yet' : missing}: running npm ${command}`)
  const status = npm([command, '--include=dev', '--no-audit', '--no-fund'])
  if (status !== 0) stop(`npm ${command} failed (exit ${status}). Is the package registry reachable?`)
}

/** false, or what differs between the lock and what is installed, in words. */
function whatIsMissing(lock) {
  const installed = readJson('node_modules/.package-lock.json')?.packages
  if (installed === undefined) return 'no dependencies yet'
  for (const [path, wanted] of Object.entries(lock.packages)) {
    if (!path.startsWith('node_modules/') || wanted.optional === true || wanted.devOptional === true) continue
    if (installed[path]?.version !== wanted.version) return `${path} is not at ${wanted.version}`
  }
  return false
}

/** The lock was made for this package.json; where it was not, npm ci would refuse it. */
function isCurrent({ packages }) {
  const wanted = readJson('package.json')
  const list = (dependencies = {}) =>
    JSON.stringify(Object.entries(dependencies).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  const same = (kind) => list(packages['']?.[kind]) === list(wanted[kind])
  return same('dependencies') && same('devDependencies')
}

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_NODE
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return
  stop(`Node ${OLDEST_NODE.join('.')} or newer is needed; this is ${process.version}.`)
}

/** Builds dist when it is missing or older than the sources. False when it could not. */
export function ensureBuilt() {
  if (isBuilt()) return true
  say('building dist')
  const { status } = spawnSync(process.execPath, [join(root, 'scripts/build.mjs')], { cwd: root, stdio: 'inherit' })
  return status === 0
}

/** dist is newer than all it is made from. */
export function isBuilt() {
  const made = modifiedMs(join(root, 'dist/index.js'))
  const others = ['src', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json', 'scripts/build.mjs']
  const sources = others.map((path) => join(root, path))
  for (const entry of readdirSync(join(root, 'src'), { recursive: true }))
    sources.push(join(root, 'src', String(entry)))
  return sources.every((path) => modifiedMs(path) <= made)
}

function modifiedMs(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function readJson(path) {
  const file = join(root, path)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined
}

/** Runs npm itself, also where it is not on the path because this was started by it. Gives its exit code. */
export function npm(args, options = {}) {
  const own = process.env['npm_execpath']
  const [command, first] = own?.endsWith('.js') === true ? [process.execPath, [own]] : ['npm', []]
  const { status, error } = spawnSync(command, [...first, ...args], { cwd: root, stdio: 'inherit', ...options })
  if (error !== undefined) stop(`npm cannot be started: ${error.message}`)
  return status ?? 1
}

/**
 * Runs Node with these arguments, the terminal handed through, and ends with its exit code. Signals are passed on once:
 * a terminal sends Ctrl-C to both processes by itself.
 */
export function become(args, env = {}) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'))
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.once('exit', (code, signal) => {
    process.exit(code ?? 128 + (constants.signals[signal] ?? 0))
  })
}
