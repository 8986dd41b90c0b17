import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const LEAVES = ['errors.ts', 'duration.ts', 'logger.ts']
const CORE = ['redis.ts', 'otel', 'route', 'http', 'cache', 'store', 'connection', 'diagnostics', ...LEAVES]
const ADAPTERS = ['fastify', 'hono', 'express', 'nestjs']
const FOR_ADAPTERS = ['routes-of.ts', 'node']

/** What each folder and file of src may import beside itself: an arrow points only downward. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  ...Object.fromEntries(ADAPTERS.map((adapter) => [adapter, [...FOR_ADAPTERS, ...CORE]])),
  'routes-of.ts': ['redis.ts', 'route', 'connection', ...LEAVES],
  node: ['route', 'http', ...LEAVES],
  'index.ts': CORE,
  'redis.ts': ['otel', 'route', 'cache', 'store', 'connection', 'diagnostics', ...LEAVES],
  testing: ['redis.ts', 'cache', 'store', ...LEAVES],
  otel: ['diagnostics', ...LEAVES],
  route: ['http', 'cache', 'store', 'diagnostics', ...LEAVES],
  http: ['errors.ts', 'duration.ts'],
  cache: ['store', 'diagnostics', ...LEAVES],
  store: ['connection', ...LEAVES],
  connection: ['diagnostics', ...LEAVES],
  diagnostics: [],
  'errors.ts': [],
  'duration.ts': [],
  'logger.ts': [],
}

const PACKAGES = [
  ...['fastify', 'hono', 'express', '@nestjs/common', '@opentelemetry/api', '@redis/client'],
  ...['redwell', 'redwell/fastify'],
]
const OWN_PACKAGE: Record<string, string> = {
  fastify: 'fastify',
  hono: 'hono',
  express: 'express',
  nestjs: '@nestjs/common',
  otel: '@opentelemetry/api',
  connection: '@redis/client',
}

const parts = Object.keys(MAY_IMPORT)
const isFile = (part: string) => part.endsWith('.ts')
const fileOf = (part: string) => (isFile(part) ? part : `${part}/a.ts`)

function specifier(from: string, to: string): string {
  return `${isFile(from) ? './' : '../'}${fileOf(to).replace(/\.ts$/, '.js')}`
}

interface Finding {
  readonly rule: string
  readonly file: string
  readonly text: string
}

let tree: string

/** Lints files with this package's own rules in a folder of their own; gives what is forbidden about their imports. */
function lint(files: Record<string, readonly string[]>): Finding[] {
  const src = join(tree, 'src')
  rmSync(src, { recursive: true, force: true })
  for (const [file, lines] of Object.entries(files)) {
    mkdirSync(dirname(join(src, file)), { recursive: true })
    writeFileSync(join(src, file), lines.join('\n'))
  }
  const { stdout } = spawnSync(process.execPath, [join(ROOT, 'node_modules/oxlint/bin/oxlint'), '-f', 'json'], {
    cwd: tree,
    encoding: 'utf8',
  })
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: { code: string; filename: string; labels: { span: { line: number } }[] }[]
  }
  return diagnostics
    .filter(({ code }) => code.includes('no-restricted-imports') || code.includes('no-cycle'))
    .map(({ code, filename, labels: [label] }) => {
      const file = filename.replace(/^src\//, '')
      return { rule: code, file, text: files[file]?.[(label?.span.line ?? 0) - 1] ?? '' }
    })
}

beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), 'redwell-layers-'))
  const config = JSON.parse(readFileSync(join(ROOT, '.oxlintrc.json'), 'utf8')) as Record<string, unknown>
  writeFileSync(join(tree, '.oxlintrc.json'), JSON.stringify({ ...config, options: {}, $schema: undefined }))
})

afterAll(() => rmSync(tree, { recursive: true, force: true }))

test('every folder and file of src has its place in the layers', () => {
  const found = readdirSync(join(ROOT, 'src')).filter((name) => !name.startsWith('.'))
  expect(found.filter((name) => !(name in MAY_IMPORT))).toEqual([])
})

describe('an import that points upward or sideways is an error', () => {
  test.each(parts)('%s', (from) => {
    const others = parts.filter((to) => to !== from)
    const imports = others.map((to) => `export * from '${specifier(from, to)}'`)
    const forbidden = others
      .filter((to) => !MAY_IMPORT[from]?.includes(to))
      .map((to) => `export * from '${specifier(from, to)}'`)
    const found = lint({ [fileOf(from)]: imports }).map(({ text }) => text)
    expect(found.toSorted()).toEqual(forbidden.toSorted())
  })
})

describe('a type import and a deeper folder count the same', () => {
  test('store/redis may not know the cache', () => {
    const line = "import type { Fill } from '../../cache/fills.js'"
    expect(lint({ 'store/redis/a.ts': [line, 'export type A = Fill'] })).toMatchObject([{ text: line }])
  })
  test('store/redis may know the connection', () => {
    expect(lint({ 'store/redis/a.ts': ["export * from '../../connection/script.js'"] })).toEqual([])
  })
  test('http may have a file that is named like a layer', () => {
    expect(lint({ 'http/a.ts': ["export * from './store.js'", "export * from './vary/cache.js'"] })).toEqual([])
  })
})

describe('a framework is known to its own adapter only, and the Redis client to the connection', () => {
  test.each(parts)('%s', (from) => {
    const forbidden = PACKAGES.filter((name) => name !== OWN_PACKAGE[from]).map((name) => `export * from '${name}'`)
    const found = lint({ [fileOf(from)]: PACKAGES.map((name) => `export * from '${name}'`) }).map(({ text }) => text)
    expect(found.toSorted()).toEqual(
      (LEAVES.includes(from) ? PACKAGES.map((name) => `export * from '${name}'`) : forbidden).toSorted(),
    )
  })
  test('http opens no socket and no file', () => {
    const lines = ["import 'node:net'", "import 'node:fs'", "import 'node:crypto'"]
    expect(
      lint({ 'http/a.ts': lines })
        .map(({ text }) => text)
        .toSorted(),
    ).toEqual(["import 'node:fs'", "import 'node:net'"])
  })
})

test('a cycle is an error', () => {
  const found = lint({ 'cache/a.ts': ["export * from './b.js'"], 'cache/b.ts': ["export * from './a.js'"] })
  expect(found.map(({ rule }) => rule)).toContain('import(no-cycle)')
})
