// The layers of src: who may import whom, type imports included, and that no files import each other in a circle.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root, say, stop } from './prepare.mjs'

/** Top to bottom. A room imports itself and the floors below, never a neighbour on its own floor. */
const FLOORS = [
  ['cli', 'dashboard'],
  ['index.ts', 'testing', 'operate'],
  ['adapters/express', 'adapters/fastify', 'adapters/hono', 'adapters/nestjs'],
  ['adapters/web'],
  ['adapters/node'],
  ['adapters/exchange.ts'],
  ['adapters/reply.ts'],
  ['adapters/declarations.ts', 'adapters/fields.ts', 'adapters/limiting.ts', 'adapters/sessions.ts'],
  ['adapters/answers.ts', 'adapters/background.ts', 'adapters/request-property.ts'],
  ['create-redis.ts'],
  ['report'],
  ['route', 'data', 'limit', 'session'],
  ['cache'],
  ['store', 'http'],
  ['redis', 'telemetry/otel'],
  ['telemetry'],
  [
    'logger.ts',
    'errors.ts',
    'duration.ts',
    'losses.ts',
    'maybe-promise.ts',
    'request-function.ts',
    'schema-issues.ts',
    'value-at.ts',
  ],
]
/** These rooms are pure: of what is below they import only this. */
const PURE = { http: ['errors.ts', 'duration.ts', 'maybe-promise.ts', 'request-function.ts'] }
/** The only rooms that may import a package other than Node's own and these. */
const PACKAGES = [/^node:/, /^lru-cache$/, /^structured-headers$/]
const OWN_PACKAGES = {
  redis: /^@redis\/client$/,
  'telemetry/otel': /^@opentelemetry\//,
  'adapters/express': /^express$/,
  'adapters/fastify': /^fastify(-plugin)?$/,
  'adapters/hono': /^hono(\/|$)/,
  'adapters/nestjs': /^(@nestjs\/|rxjs$|express$|fastify$)/,
  data: /^(devalue|msgpackr)$/,
  cli: /^commander$/,
}

/** Every problem of a tree of sources, as lines to read. */
export function layerProblems(src) {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const imports = new Map(files.map((file) => [file, importsOf(join(src, file), src)]))
  const problems = files.flatMap((file) =>
    roomOf(file) === undefined
      ? [`${file}: no floor has this room; name it in scripts/layers.mjs`]
      : imports.get(file).flatMap((target) => problemOf(file, target)),
  )
  return [...problems, ...circles(imports)]
}

function importsOf(path, src) {
  // Examples in doc comments import the package by its name.
  const text = readFileSync(path, 'utf8').replace(/^ *\/\*\*?[^]*?\*\//gm, '')
  const found = text.matchAll(/^(?:import|export)\s(?:[^'"=;]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm)
  return Array.from(found, ([, declared, dynamic]) => declared ?? dynamic).map((specifier) =>
    specifier.startsWith('.')
      ? relative(src, resolve(dirname(path), specifier.replace(/\.js$/, '.ts')))
      : specifier + '\0',
  )
}

function problemOf(file, target) {
  const room = roomOf(file)
  if (target.endsWith('\0')) {
    const name = target.slice(0, -1)
    const allowed = OWN_PACKAGES[room]?.test(name) || PACKAGES.some((one) => one.test(name))
    return allowed ? [] : [`${file}: ${room} must not import the package ${name}`]
  }
  const other = roomOf(target)
  if (other === room) return []
  if (other === undefined) return [`${file}: imports ${target}, which no floor has`]
  if (PURE[room] !== undefined && !PURE[room].includes(other))
    return [`${file}: ${room} is pure and must not import ${target}`]
  return floorOf(other) > floorOf(room) ? [] : [`${file}: ${room} must not import ${target}, which is not below it`]
}

/** The longest name that fits: `telemetry/otel` before `telemetry`. */
function roomOf(file) {
  const fitting = FLOORS.flat().filter((room) => file === room || file.startsWith(`${room}/`))
  return fitting.toSorted((one, other) => other.length - one.length)[0]
}

function floorOf(room) {
  return FLOORS.findIndex((rooms) => rooms.includes(room))
}

/** Strongly connected files, by Tarjan's algorithm. */
function circles(imports) {
  const index = new Map()
  const low = new Map()
  const stack = []
  const found = []
  const visit = (file) => {
    index.set(file, index.size)
    low.set(file, index.get(file))
    stack.push(file)
    for (const target of imports.get(file) ?? []) {
      if (!imports.has(target)) continue
      if (target === file) found.push(`${file}: imports itself`)
      if (!index.has(target)) visit(target)
      if (stack.includes(target)) low.set(file, Math.min(low.get(file), low.get(target)))
    }
    if (low.get(file) !== index.get(file)) return
    const circle = stack.splice(stack.indexOf(file))
    if (circle.length > 1) found.push(`circle: ${circle.toSorted((one, other) => (one < other ? -1 : 1)).join(', ')}`)
  }
  for (const file of imports.keys()) if (!index.has(file)) visit(file)
  return found
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const src = join(root, 'src')
  if (!existsSync(src)) stop('src is missing')
  const problems = layerProblems(src)
  for (const problem of problems) say(problem)
  if (problems.length > 0) process.exit(1)
}
