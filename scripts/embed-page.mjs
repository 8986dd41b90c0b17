// Writes src/dashboard/assets.ts from the files of src/dashboard/page, because bundlers do not follow files that a package
// reads at run time. `--check` fails when the module is not what the files say.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { root, stop } from './prepare.mjs'

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
}

const folder = join(root, 'src/dashboard/page')
const target = join(root, 'src/dashboard/assets.ts')

const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => extname(file) in TYPES)
const entries = files.toSorted().map((file) => {
  const text = readFileSync(join(folder, file), 'utf8')
  const etag = createHash('sha256').update(text).digest('base64url').slice(0, 16)
  const name = file.replaceAll('\\', '/').replace(/^vendor\//, '')
  return `  '${name}': { type: '${TYPES[extname(file)]}', etag: '"${etag}"', text: ${JSON.stringify(text)} },\n`
})
const module = `// Made by scripts/embed-page.mjs from page/; do not edit.

/** A file of the page. */
export interface Asset {
  readonly type: string
  readonly etag: string
  readonly text: string
}

export const assets: Readonly<Record<string, Asset>> = {
${entries.join('')}}
`

if (!process.argv.includes('--check')) writeFileSync(target, module)
else if (readFileSync(target, 'utf8') !== module) stop('src/dashboard/assets.ts is stale: run npm run embed-page')
