import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const FOLDER = join(import.meta.dirname, '../../node_modules/.cache/bench-peers')
const WANTED = join(import.meta.dirname, 'package.json')
const IMPORTER = join(FOLDER, 'import.mjs')

/** Installs what redwell is compared with, into a folder of its own: none of it belongs to the project. */
export function installPeers(): void {
  const installed = join(FOLDER, 'package.json')
  const isCurrent = existsSync(installed) && readFileSync(installed, 'utf8') === readFileSync(WANTED, 'utf8')
  if (isCurrent && existsSync(IMPORTER)) return
  mkdirSync(FOLDER, { recursive: true })
  copyFileSync(WANTED, installed)
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--legacy-peer-deps'], {
    cwd: FOLDER,
    stdio: 'inherit',
  })
  // The last step, so that an installation that was cut is made again.
  writeFileSync(IMPORTER, 'export default (name) => import(name)\n')
}

/** A peer, without its types: none of them is a dependency of this project. */
export function peer(name: string): never {
  return createRequire(join(FOLDER, 'package.json'))(name) as never
}

/** The same of a peer that is an ES module. */
export async function importedPeer(name: string): Promise<never> {
  const { default: load } = (await import(pathToFileURL(IMPORTER).href)) as {
    default: (name: string) => Promise<never>
  }
  return load(name)
}
