// Writes src/store/scripts.ts from the Lua files beside it, because bundlers do not follow files that a package
// reads at run time. `--check` fails when the module is not what the files say.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, stop } from './prepare.mjs'

const folder = join(root, 'src/store/lua')
const target = join(root, 'src/store/scripts.ts')

/** `fill-two-2.lua` has 2 keys and becomes `scripts.fillTwo`. */
function embed(file) {
  const [, kebab, keyCount] =
    /^([a-z]+(?:-[a-z]+)*)-(\d+)\.lua$/.exec(file) ?? stop(`${file} is not named <name>-<count of keys>.lua`)
  const name = kebab.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase())
  const source = readFileSync(join(folder, file), 'utf8')
  checkHeader(file, source)
  const code = source.replace(/^--.*\n/gm, '').trim()
  const sha1 = createHash('sha1').update(code).digest('hex')
  const text = code.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')
  return `  ${name}: {\n    name: '${name}',\n    keyCount: ${keyCount},\n    sha1: '${sha1}',\n    source: \`${text}\`,\n  },\n`
}

/** The header says what the script is for, its KEYS and ARGV, and what it returns. */
function checkHeader(file, source) {
  const header = /^(?:--.*\n)+/.exec(source)?.[0] ?? ''
  const usesArguments = /\bARGV\b/.test(source.slice(header.length))
  const wanted = ['-- KEYS', '-- Returns', ...(usesArguments ? ['-- ARGV'] : [])]
  const missing = wanted.filter((part) => !header.includes(part))
  if (missing.length > 0) stop(`${file}: its header lacks ${missing.join(' and ')}`)
}

const entries = readdirSync(folder).toSorted().map(embed).join('')
const module = `// Made by scripts/embed-lua.mjs from lua/*.lua; do not edit.
import type { Script } from '../redis/command.js'

export const scripts = {
${entries}} as const satisfies Record<string, Script>
`

if (!process.argv.includes('--check')) writeFileSync(target, module)
else if (readFileSync(target, 'utf8') !== module) stop('src/store/scripts.ts is stale: run npm run embed-lua')
