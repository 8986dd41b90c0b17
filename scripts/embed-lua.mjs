// Writes src/store/redis/scripts.ts from the Lua files beside it, because bundlers do not follow files that a package
// reads at run time. `--check` fails when the module is not what the files say.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, 'src/store/redis/lua')
const target = join(root, 'src/store/redis/scripts.ts')

/** `publish-2.lua`: the name is `publish`, and it has 2 keys. */
function embed(file) {
  const [, name, keyCount] = /^([a-z]+)-(\d+)\.lua$/.exec(file) ?? fail(`${file} is not named <name>-<count of keys>.lua`)
  const source = readFileSync(join(folder, file), 'utf8')
  if (!source.startsWith('-- ')) fail(`${file} has no header`)
  const code = source.replace(/^--.*\n/gm, '').trim()
  const sha1 = createHash('sha1').update(code).digest('hex')
  const text = code.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')
  return `  ${name}: {\n    name: '${name}',\n    keyCount: ${keyCount},\n    sha1: '${sha1}',\n    source: \`${text}\`,\n  },\n`
}

function fail(message) {
  throw new Error(message)
}

const files = readdirSync(folder).sort()
const module = `// Made by scripts/embed-lua.mjs from lua/*.lua; do not edit.\nimport type { Script } from '../../connection/script.js'\n\nexport const scripts = {\n${files.map(embed).join('')}} as const satisfies Record<string, Script>\n`

if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== module) fail('src/store/redis/scripts.ts is stale: run node scripts/embed-lua.mjs')
} else {
  writeFileSync(target, module)
}
