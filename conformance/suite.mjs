import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { npm, root, say } from '../scripts/prepare.mjs'

/** The newest release. Its own dependency on npm itself is not needed to run it, so a package that is stands in. */
const SUITE = 'http-cache-tests'
const VERSION = '0.4.5'
const FETCH = '2.7.0'

/** Folder of the suite, fetched from the package registry once; undefined where that is out of reach. */
export function fetchSuite() {
  const home = join(root, 'node_modules/.cache/redwell-conformance', VERSION)
  const folder = join(home, 'node_modules', SUITE)
  if (existsSync(join(home, 'node_modules/.package-lock.json'))) return folder
  say(`fetching ${SUITE} ${VERSION}`)
  mkdirSync(home, { recursive: true })
  const manifest = {
    private: true,
    dependencies: { [SUITE]: VERSION, 'node-fetch': FETCH },
    overrides: { [SUITE]: { npm: `npm:node-fetch@${FETCH}`, 'node-fetch': FETCH } },
  }
  writeFileSync(join(home, 'package.json'), JSON.stringify(manifest))
  const quiet = [
    '--ignore-scripts',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    '--fetch-retries=1',
    '--fetch-timeout=30000',
  ]
  if (npm(['install', ...quiet], { cwd: home }) === 0) return folder
  rmSync(home, { recursive: true, force: true })
  return undefined
}

export function versionOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version
}
