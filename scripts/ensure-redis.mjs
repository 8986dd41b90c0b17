// The tests and the bench start Redis servers of their own and make certificates; nothing else is asked of the system.
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { say, stop } from './prepare.mjs'

/** The server that the tests start. */
const SERVER = process.env['REDWELL_TEST_REDIS_SERVER'] ?? 'redis-server'

const HOW = `redis-server (7.0 or newer, or another server that REDWELL_TEST_REDIS_SERVER names) and openssl must be on the path. Install them and run this again:
  Debian, Ubuntu   sudo apt-get install redis-server openssl
  Fedora           sudo dnf install redis openssl
  macOS            brew install redis openssl`

/** Installs Debian's Redis and OpenSSL where they are missing and this may; otherwise says what to install. */
export function ensureRedis() {
  if (complete()) return
  if (process.getuid?.() !== 0 || !works('apt-get', '--version')) stop(HOW)
  say('no redis-server or no openssl: installing them with apt-get')
  apt(['update'])
  apt(['install', '-y', '--no-install-recommends', 'redis-server', 'redis-tools', 'openssl'])
  if (!complete()) stop(HOW)
}

function complete() {
  return works(SERVER, '--version') && works('openssl', 'version')
}

function works(program, ask) {
  return spawnSync(program, [ask], { stdio: 'ignore' }).status === 0
}

/** Quiet unless it fails. */
function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const { status, stdout, stderr } = spawnSync('apt-get', ['-q', ...args], { env, encoding: 'utf8' })
  if (status !== 0) stop(`apt-get ${args.join(' ')} failed (exit ${status}).\n${stdout}${stderr}\n${HOW}`)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) ensureRedis()
