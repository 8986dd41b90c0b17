// Builds dist: the compiler writes the declarations, esbuild one file for each entry of the package and the chunks that
// entries share. Made beside dist and put in its place when complete, so that nobody ever imports half a build.
// `--if-stale` does nothing where dist is newer than the sources.
import { spawnSync } from 'node:child_process'
import { readFileSync, renameSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { isBuilt, root } from './prepare.mjs'

if (process.argv.includes('--if-stale') && isBuilt()) process.exit(0)

// Only here: a script that finds dist current needs no packages.
const { build } = await import('esbuild')

const startedAt = new Date()
// In the root, as dist is: source maps name the sources by their path from here.
const fresh = join(root, `.dist-${process.pid}`)
const dist = join(root, 'dist')

const tsc = join(root, 'node_modules/typescript/bin/tsc')
const args = [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh, '--noEmitOnError']
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })

if (status === 0 && (await bundle())) {
  // A source saved while the compiler ran must still count as newer.
  utimesSync(join(fresh, 'index.js'), startedAt, startedAt)
  rmSync(dist, { recursive: true, force: true })
  renameSync(fresh, dist)
} else {
  rmSync(fresh, { recursive: true, force: true })
  process.exit(1)
}

/** False where it failed; esbuild has said why. Few files load several times as fast as one for each source. */
function bundle() {
  return build({
    absWorkingDir: root,
    entryPoints: entries(),
    outdir: fresh,
    outbase: 'src',
    bundle: true,
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    packages: 'external',
    sourcemap: true,
    // Stack traces have names and lines of the sources without their text.
    sourcesContent: false,
    logLevel: 'warning',
  }).then(
    () => true,
    () => false,
  )
}

/** The sources of what package.json exports and runs. */
function entries() {
  const { exports, bin = {} } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const files = [...Object.values(exports).map(({ default: file }) => file), ...Object.values(bin)]
  const built = files.filter((file) => file?.endsWith('.js'))
  return built.map((file) => file.replace(/^(\.\/)?dist\//, 'src/').replace(/\.js$/, '.ts'))
}
