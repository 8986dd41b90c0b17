import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const FOLDER = join(import.meta.dirname, '../../node_modules/.cache/bench-peers')
const WANTED = join(import.meta.dirname, 'package.json')

/** Installs what redwell is compared with, into a folder of its own: none of it belongs to the project. */
export function installPeers(): void {
  const installed = join(FOLDER, 'package.json')
  const isCurrent = existsSync(installed) && readFileSync(installed, 'utf8') === readFileSync(WANTED, 'utf8')
  if (isCurrent && existsSync(join(FOLDER, 'node_modules/ioredis'))) return
  mkdirSync(FOLDER, { recursive: true })
  copyFileSync(WANTED, installed)
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--legacy-peer-deps'], {
    cwd: FOLDER,
    stdio: 'inherit',
  })
}

/** A peer, without its types: none of them is a dependency of this project. */
export function peer(name: string): never {
  return createRequire(join(FOLDER, 'package.json'))(name) as never
}
