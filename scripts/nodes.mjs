// Newer versions of Node, whose binaries are packages of npm.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { npm, root } from './prepare.mjs'

/** Majors besides the oldest, which runs everything else. */
export const NODES = [22, 24]

export const NODE_PACKAGE = `node-${process.platform}-${process.arch}`

/** The program of a major; undefined if it cannot be had here. */
export function nodeProgram(major) {
  const folder = cacheFolder(`node-${major}`)
  if (!existsSync(folder)) {
    const quiet = ['--no-audit', '--no-fund', '--loglevel=silent']
    if (npm(['install', '--prefix', folder, ...quiet, `${NODE_PACKAGE}@${major}`], { stdio: 'ignore' }) !== 0)
      return undefined
  }
  const path = findFile(folder, 'node')
  return path !== undefined && succeeds(path, ['--version']) ? path : undefined
}

export function cacheFolder(name) {
  return join(root, 'node_modules/.cache/redwell-test', name)
}

export function findFile(folder, name) {
  const entries = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : []
  const found = entries.find((entry) => entry.isFile() && entry.name === name)
  return found && join(found.parentPath, name)
}

export function succeeds(program, args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}
