// Builds dist: made beside it and put in its place when complete, so that nobody ever imports half a build.
// `--if-stale` does nothing where dist is newer than the sources.
import { spawnSync } from 'node:child_process'
import { mkdirSync, renameSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { isBuilt, root } from './prepare.mjs'

if (process.argv.includes('--if-stale') && isBuilt()) process.exit(0)

const startedAt = new Date()
const fresh = join(root, 'node_modules/.cache', `redwell-build-${process.pid}`)
const dist = join(root, 'dist')

mkdirSync(join(root, 'node_modules/.cache'), { recursive: true })
const tsc = join(root, 'node_modules/typescript/bin/tsc')
const args = [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh, '--noEmitOnError']
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })

if (status === 0) {
  // A source saved while the compiler ran must still count as newer.
  utimesSync(join(fresh, 'index.js'), startedAt, startedAt)
  rmSync(dist, { recursive: true, force: true })
  renameSync(fresh, dist)
} else {
  rmSync(fresh, { recursive: true, force: true })
  process.exit(1)
}
