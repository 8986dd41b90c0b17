// The tests and the bench start Redis servers of their own, so they need the program; nothing else is asked of the system.
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { say, stop } from './prepare.mjs'

const HOW = `redis-server (7.0 or newer, or a Valkey named so) is not on the path. Install it and run this again:
  Debian, Ubuntu   sudo apt-get install redis-server
  Fedora           sudo dnf install redis
  macOS            brew install redis`

/** Installs Debian's Redis where there is none and this may; otherwise says what to install. */
export function ensureRedis() {
  if (works('redis-server')) return
  if (process.getuid?.() !== 0 || !works('apt-get')) stop(HOW)
  say('no redis-server: installing it with apt-get')
  apt(['update'])
  apt(['install', '-y', '--no-install-recommends', 'redis-server', 'redis-tools'])
  if (!works('redis-server')) stop(HOW)
}

function works(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}

/** Quiet unless it fails. */
function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const { status, stdout, stderr } = spawnSync('apt-get', ['-q', ...args], { env, encoding: 'utf8' })
  if (status !== 0) stop(`apt-get ${args.join(' ')} failed (exit ${status}).\n${stdout}${stderr}\n${HOW}`)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) ensureRedis()
