// Writes scripts.ts of each room from the Lua files in its lua/, because bundlers do not follow files that a package
// reads at run time. `--check` fails when a module is not what the files say.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, stop } from './prepare.mjs'

const ROOMS = ['store', 'limit', 'session', 'report']

/** Code by name of the files in lua/include of the room. */
const snippets = new Map()
let folder = ''

for (const room of ROOMS) {
  folder = join(root, 'src', room, 'lua')
  if (!existsSync(folder)) continue
  snippets.clear()
  const target = join(root, 'src', room, 'scripts.ts')
  const module = moduleOf(readdirSync(folder).filter((file) => file.endsWith('.lua')))
  if (!process.argv.includes('--check')) writeFileSync(target, module)
  else if (readFileSync(target, 'utf8') !== module) stop(`src/${room}/scripts.ts is stale: run npm run embed-lua`)
}

function moduleOf(files) {
  const entries = files.toSorted().map(embed).join('')
  const included = Array.from(snippets, ([name, code]) => `const ${camel(name)} = ${JSON.stringify(code)}\n`).join('')
  return `// Made by scripts/embed-lua.mjs from lua/*.lua; do not edit.
import type { Script } from '../redis/command.js'

${included}${included === '' ? '' : '\n'}export const scripts = {
${entries}} as const satisfies Record<string, Script>
`
}

/** `fill-two-2.lua` has 2 keys and becomes `scripts.fillTwo`. */
function embed(file) {
  const [, kebab, keyCount] =
    /^([a-z]+(?:-[a-z]+)*)-(\d+)\.lua$/.exec(file) ?? stop(`${file} is not named <name>-<count of keys>.lua`)
  const source = readFileSync(join(folder, file), 'utf8')
  checkHeader(file, source)
  const flags = /^-- Flags: (.+)\n/m.exec(source)?.[1]
  const head = flags === undefined ? '' : `#!lua flags=${flags}\n`
  const included = [...includesOf(source)]
  const code = codeOf(source)
  const sha1 = createHash('sha1')
    .update([head, ...included.map((name) => snippets.get(name)), code].join(''))
    .digest('hex')
  const parts = [...(head === '' ? [] : [JSON.stringify(head)]), ...included.map(camel), JSON.stringify(code)]
  const name = camel(kebab)
  return `  ${name}: { name: '${name}', keyCount: ${keyCount}, sha1: '${sha1}', source: ${parts.join(' + ')} },\n`
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

/** One statement a line, without comments and indentation. */
function codeOf(source) {
  const lines = source.split('\n').map((line) => line.trim())
  return lines
    .filter((line) => line !== '' && !line.startsWith('--'))
    .map((line) => `${line}\n`)
    .join('')
}

function camel(kebab) {
  return kebab.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase())
}

/** The header says what the script is for, its KEYS and ARGV, and what it returns. */
function checkHeader(file, source) {
  const header = /^(?:--.*\n)+/.exec(source)?.[0] ?? ''
  const usesArguments = /\bARGV\b/.test(source.slice(header.length))
  const wanted = ['-- KEYS', '-- Returns', ...(usesArguments ? ['-- ARGV'] : [])]
  const missing = wanted.filter((part) => !header.includes(part))
  if (missing.length > 0) stop(`${file}: its header lacks ${missing.join(' and ')}`)
}
