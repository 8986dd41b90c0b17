// Writes src/store/scripts.ts from the Lua files in lua/, because bundlers do not follow files that a package
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
  const source = readFileSync(join(folder, file), 'utf8')
  checkHeader(file, source)
  const flags = /^-- Flags: (.+)\n/m.exec(source)?.[1]
  const head = flags === undefined ? '' : `#!lua flags=${flags}\n`
  const included = [...includesOf(source)]
  const code = codeOf(source).trim()
  const sha1 = createHash('sha1')
    .update([head, ...included.map((name) => snippets.get(name)), code].join(''))
    .digest('hex')
  const parts = [...(head === '' ? [] : [literal(head)]), ...included.map(camel), literal(code)]
  const name = camel(kebab)
  return `  ${name}: {\n    name: '${name}',\n    keyCount: ${keyCount},\n    sha1: '${sha1}',\n    source: ${parts.join(' + ')},\n  },\n`
}

/** `-- include: lease` puts the code of include/lease.lua before that of the file, once, after what it includes itself. */
function includesOf(source, found = new Set()) {
  for (const [, list] of source.matchAll(/^-- include: (.+)\n/gm)) {
    for (const name of list.split(' ')) {
      if (found.has(name)) continue
      const text = readFileSync(join(folder, 'include', `${name}.lua`), 'utf8')
      includesOf(text, found)
      snippets.set(name, codeOf(text))
      found.add(name)
    }
  }
  return found
}

function codeOf(source) {
  return source.replace(/^--.*\n/gm, '').replace(/\n{2,}/g, '\n')
}

function camel(kebab) {
  return kebab.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase())
}

function literal(code) {
  return `\`${code.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')}\``
}

/** The header says what the script is for, its KEYS and ARGV, and what it returns. */
function checkHeader(file, source) {
  const header = /^(?:--.*\n)+/.exec(source)?.[0] ?? ''
  const usesArguments = /\bARGV\b/.test(source.slice(header.length))
  const wanted = ['-- KEYS', '-- Returns', ...(usesArguments ? ['-- ARGV'] : [])]
  const missing = wanted.filter((part) => !header.includes(part))
  if (missing.length > 0) stop(`${file}: its header lacks ${missing.join(' and ')}`)
}

/** Code by name of the files in lua/include. */
const snippets = new Map()
const files = readdirSync(folder).filter((file) => file !== 'include')
const entries = files.toSorted().map(embed).join('')
const included = Array.from(snippets, ([name, code]) => `const ${camel(name)} = ${literal(code)}\n`).join('\n')
const module = `// Made by scripts/embed-lua.mjs from lua/*.lua; do not edit.
import type { Script } from '../redis/command.js'

${included}
export const scripts = {
${entries}} as const satisfies Record<string, Script>
`

if (!process.argv.includes('--check')) writeFileSync(target, module)
else if (readFileSync(target, 'utf8') !== module) stop('src/store/scripts.ts is stale: run npm run embed-lua')
