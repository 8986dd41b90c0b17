// Builds dist: the compiler writes the declarations, esbuild one file for each entry of the package and the chunks that
// entries share. Made beside dist and put in its place when complete, so that nobody ever imports half a build.
// `--if-stale` does nothing where dist is newer than the sources.
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { isBuilt, root } from './prepare.mjs'

const { exports, bin = {} } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

if (process.argv.includes('--if-stale') && isBuilt()) process.exit(0)

// Only here: a script that finds dist current needs no packages.
const { build } = await import('esbuild')
const { decode, encode } = await import('@jridgewell/sourcemap-codec')

const startedAt = new Date()
// In the root, as dist is: source maps name the sources by their path from here.
const fresh = join(root, `.dist-${process.pid}`)
const dist = join(root, 'dist')

const tsc = join(root, 'node_modules/typescript/bin/tsc')
const args = [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh, '--noEmitOnError']
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })

if (status === 0 && (await bundle())) {
  thinMaps()
  joinTypes()
  dropPrivateTypes()
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
  const files = [...Object.values(exports).map(({ default: file }) => file), ...Object.values(bin)]
  const built = files.filter((file) => file?.endsWith('.js'))
  return built.map((file) => file.replace(/^(\.\/)?dist\//, 'src/').replace(/\.js$/, '.ts'))
}

/**
 * The types of an adapter load those of the package: `declare module 'redwell'` is an error (TS2664) in a program that
 * imports nothing else which does. In the sources such an import would be one of a floor above.
 */
function joinTypes() {
  for (const name of readdirSync(join(fresh, 'adapters'))) {
    const types = join(fresh, 'adapters', name, 'index.d.ts')
    if (existsSync(types)) appendFileSync(types, "import type {} from '../../index.js'\n")
  }
}

/** Removes the declarations that no entry of the package leads to. */
function dropPrivateTypes() {
  const reached = new Set()
  const reach = (path) => {
    if (reached.has(path) || !existsSync(path)) return
    reached.add(path)
    for (const [, to] of readFileSync(path, 'utf8').matchAll(/(?:from|import)\s*\(?'(\.[^']+)\.js'/g))
      reach(join(path, '..', `${to}.d.ts`))
  }
  for (const { types } of Object.values(exports)) if (types !== undefined) reach(types.replace(/^\.\/dist/, fresh))
  const declared = readdirSync(fresh, { recursive: true }).filter((path) => path.endsWith('.d.ts'))
  for (const path of declared.map((name) => join(fresh, name))) if (!reached.has(path)) rmSync(path)
}

/** Keeps the source line of each position and drops its column, which is most of a map and not needed in stack traces. */
function thinMaps() {
  const paths = readdirSync(fresh, { recursive: true }).filter((path) => path.endsWith('.js.map'))
  for (const path of paths.map((name) => join(fresh, name))) {
    const map = JSON.parse(readFileSync(path, 'utf8'))
    const lines = decode(map.mappings).map((segments) =>
      segments.filter(([, source, line], index) => {
        const [, lastSource, lastLine] = segments[index - 1] ?? []
        return source !== lastSource || line !== lastLine
      }),
    )
    // Columns are the same for all segments, so that they cost nothing.
    const mappings = encode(
      lines.map((segments) => segments.map(([column, source, line]) => [column, source, line, 0])),
    )
    writeFileSync(path, JSON.stringify({ ...map, mappings }))
  }
}
