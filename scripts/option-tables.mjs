// Writes the options of routes into docs/options.md and into comments, from the tables of src/http/options.ts and
// src/route/options.ts: a heading and a paragraph for each option between `<!-- options: … -->` and `<!-- /options -->`,
// and the last sentence of each option's comment, `Default: …`. `--check` fails where one of them is stale.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tsImport } from 'tsx/esm/api'
import { root, say, stop } from './prepare.mjs'

const SOURCES = ['src/http/options.ts', 'src/route/options.ts']
const PAGE = 'docs/options.md'

const { HTTP_OPTIONS } = await tsImport('../src/http/options.ts', import.meta.url)
const { EVICT_OPTIONS, ROUTE_OPTIONS } = await tsImport('../src/route/options.ts', import.meta.url)
const rows = { ...EVICT_OPTIONS, ...HTTP_OPTIONS, ...ROUTE_OPTIONS }
/** What `cacheEvict` has alone, or with another meaning. */
const EVICT_ONLY = ['group', 'key', 'mode']
/** From here on, comments are those of `cacheEvict`. */
const EVICT_START = 'export type CacheEvictOptions'

const stale = []
for (const path of SOURCES) update(path, withDefaults)
const [ofRoutes, ofEvict] = SOURCES.map((path) => readFileSync(join(root, path), 'utf8'))
  .join('\n')
  .split(EVICT_START)
const texts = commentsOf(ofRoutes)
const evictTexts = new Map([...texts, ...commentsOf(ofEvict)])
update(PAGE, withOptions)
if (stale.length > 0 && process.argv.includes('--check'))
  stop(`${stale.join(', ')}: not what the tables of options say; run node scripts/option-tables.mjs`)
for (const path of stale) say(`${path} written`)

function update(path, change) {
  const before = readFileSync(join(root, path), 'utf8')
  const after = change(before, path)
  if (after === before) return
  stale.push(path)
  if (!process.argv.includes('--check')) writeFileSync(join(root, path), after)
}

/** An option's comment, its indentation, and its name. */
function comments() {
  return /^( +)\/\*\*((?:(?!\*\/)[^])*)\*\/\n +(\w+)\??:/gm
}

/** Comments of options with their last sentence made from the row. */
function withDefaults(source) {
  const evictStart = source.indexOf(EVICT_START)
  return source.replace(comments(), (all, indent, comment, name, offset) => {
    const row = evictStart !== -1 && offset > evictStart ? EVICT_OPTIONS[name] : rows[name]
    if (row === undefined) return all
    const text = `${plain(comment)} Default: ${defaultOf(row)}.`
    const end = all.slice(all.indexOf('*/') + 2)
    const single = `${indent}/** ${text} */`
    if (single.length <= 120) return single + end
    return `${indent}/**\n${wrap(text, 120 - indent.length - 3)
      .map((line) => `${indent} * ${line}\n`)
      .join('')}${indent} */${end}`
  })
}

function wrap(text, width) {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1)
    if (line === '') lines[lines.length - 1] = word
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`
    else lines.push(word)
  }
  return lines
}

/** The text of a comment without its asterisks and its last sentence. */
function plain(comment) {
  const text = comment
    .replace(/^ *\* ?/gm, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  return text.replace(/ Default: [^]*$/, '')
}

function commentsOf(source) {
  return new Map(Array.from(source.matchAll(comments()), ([, , comment, name]) => [name, plain(comment)]))
}

function defaultOf(option) {
  const app = shown(option, 'app')
  const gateway = shown(option, 'rfc9111')
  return app === gateway ? app : `${app}; \`rfc9111\`: ${gateway}`
}

function shown(option, preset) {
  const value = option[preset]
  if (value === undefined || value instanceof Map) return option.unset
  return `\`${typeof value === 'number' ? amount(value) : literal(value)}\``
}

/** Bytes and milliseconds in the largest unit that divides them. */
function amount(value) {
  const units = [
    [1024 * 1024, ' MiB'],
    [1024, ' KiB'],
    [3_600_000, ' h'],
  ]
  for (const [size, unit] of units) if (value >= size && value % size === 0) return `${value / size}${unit}`
  return String(value)
}

function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`
  return typeof value === 'string' ? `'${value}'` : String(value)
}

/** The page with its options made anew. `http`: one section for each of the source; `route`: what only routes have. */
function withOptions(page) {
  return page.replace(/(<!-- options: (\w+) -->\n)[^]*?(<!-- \/options -->)/g, (_, start, what, end) => {
    const text = what === 'http' ? sections() : what === 'evict' ? evictEntries() : entries(Object.keys(ROUTE_OPTIONS))
    return `${start}\n${text}${end}`
  })
}

function sections() {
  const source = readFileSync(join(root, SOURCES[0]), 'utf8')
  const body = source.slice(source.indexOf('export const HTTP_OPTIONS'), source.indexOf('export interface HttpOptions'))
  return body
    .split(/^  \/\/ (?=[A-Z])/m)
    .slice(1)
    .map((section) => {
      const title = section.slice(0, section.indexOf('\n'))
      return `## ${title}\n\n${entries(Array.from(section.matchAll(comments()), ([, , , name]) => name))}`
    })
    .join('')
}

function entries(names) {
  return names.map((name) => entry(`\`${name}\``, texts.get(name), rows[name])).join('')
}

function evictEntries() {
  return EVICT_ONLY.map((name) => {
    const title = name in ROUTE_OPTIONS ? `\`${name}\` of \`cacheEvict\`` : `\`${name}\``
    return entry(title, evictTexts.get(name), EVICT_OPTIONS[name])
  }).join('')
}

function entry(title, text, option) {
  if (text === undefined) stop(`${title} has no comment`)
  return `### ${title}\n\n${text}\n\nDefault: ${defaultOf(option)}.\n\n`
}
