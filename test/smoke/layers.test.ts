import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { layerProblems } from '../../scripts/layers.mjs'

const trees: string[] = []

afterEach(() => {
  for (const tree of trees.splice(0)) rmSync(tree, { recursive: true, force: true })
})

/** The problems of a made-up tree of sources: each file with its lines. */
function problemsOf(files: Readonly<Record<string, string | readonly string[]>>): string[] {
  const src = mkdtempSync(join(tmpdir(), 'redwell-layers-'))
  trees.push(src)
  for (const [file, lines] of Object.entries(files)) {
    mkdirSync(dirname(join(src, file)), { recursive: true })
    writeFileSync(join(src, file), [lines].flat().join('\n'))
  }
  return layerProblems(src)
}

test('a room may import itself and the floors below', () => {
  const problems = problemsOf({
    'index.ts': "export { createRedis } from './create-redis.js'",
    'create-redis.ts': "import { scope } from './cache/scope.js'",
    'cache/scope.ts': ["import { entry } from './entry.js'", "import { store } from '../store/store.js'"],
    'cache/entry.ts': "import type { Channel } from '../telemetry/events.js'",
    'store/store.ts': "import { send } from '../redis/connection.js'",
    'redis/connection.ts': ["import { createClient } from '@redis/client'", "import { once } from 'node:events'"],
    'telemetry/events.ts': "import { wrong } from '../errors.js'",
    'errors.ts': '',
  })
  expect(problems).toEqual([])
})

test.each([
  ['an import', "import { scope } from '../cache/scope.js'"],
  ['a type-only import', "import type { Scope } from '../cache/scope.js'"],
  ['an import of one type', "import { type Scope } from '../cache/scope.js'"],
  ['an import over several lines', ['import {', '  scope,', '  type Scope,', "} from '../cache/scope.js'"]],
  ['an import for its effect', "import '../cache/scope.js'"],
  ['an export', "export * from '../cache/scope.js'"],
  ['a dynamic import', "const load = () => import('../cache/scope.js')"],
])('%s that points upward is a problem', (_, lines) => {
  expect(problemsOf({ 'store/store.ts': lines, 'cache/scope.ts': '' })).toEqual([
    'store/store.ts: store must not import cache/scope.ts, which is not below it',
  ])
})

test('a room must not import a neighbour on its floor', () => {
  const problems = problemsOf({
    'adapters/hono/index.ts': "import { app } from '../express/index.js'",
    'adapters/express/index.ts': '',
    'store/store.ts': "import type { Field } from '../http/fields.js'",
    'http/fields.ts': '',
  })
  expect(problems.toSorted()).toEqual([
    'adapters/hono/index.ts: adapters/hono must not import adapters/express/index.ts, which is not below it',
    'store/store.ts: store must not import http/fields.ts, which is not below it',
  ])
})

test('a pure room imports nothing but leaves', () => {
  expect(problemsOf({ 'http/a.ts': "import { ms } from '../telemetry/events.js'", 'telemetry/events.ts': '' })).toEqual(
    ['http/a.ts: http is pure and must not import telemetry/events.ts'],
  )
  expect(problemsOf({ 'http/a.ts': "import { wrong } from '../errors.js'", 'errors.ts': '' })).toEqual([])
})

test.each([
  ['cache/a.ts', '@redis/client', 'cache'],
  ['adapters/hono/a.ts', 'express', 'adapters/hono'],
  ['telemetry/a.ts', '@opentelemetry/api', 'telemetry'],
  ['http/a.ts', 'redwell/otel', 'http'],
])('%s must not import the package %s', (file, name, room) => {
  const line = `import type { Something } from '${name}'`
  expect(problemsOf({ [file]: line })).toEqual([`${file}: ${room} must not import the package ${name}`])
})

test('an import in the example of a doc comment does not count', () => {
  expect(problemsOf({ 'cache/a.ts': ['/**', " * import { redwell } from 'redwell/hono'", ' */', ''] })).toEqual([])
  expect(problemsOf({ 'cache/a.ts': ['/**', " import { redwell } from 'redwell/hono'", ' */', ''] })).toEqual([])
})

test('a circle of type imports is a problem', () => {
  const problems = problemsOf({
    'cache/a.ts': "import type { B } from './b.js'",
    'cache/b.ts': "import { type C } from './c.js'",
    'cache/c.ts': "export type { A } from './a.js'",
    'cache/d.ts': "import { a } from './a.js'",
  })
  expect(problems).toEqual(['circle: cache/a.ts, cache/b.ts, cache/c.ts'])
})

test('two circles are two problems', () => {
  const problems = problemsOf({
    'cache/a.ts': ["import { b } from './b.js'", "import { c } from './c.js'"],
    'cache/b.ts': "import { a } from './a.js'",
    'cache/c.ts': "import { d } from './d.js'",
    'cache/d.ts': "import { c } from './c.js'",
  })
  expect(problems.toSorted()).toEqual(['circle: cache/a.ts, cache/b.ts', 'circle: cache/c.ts, cache/d.ts'])
})

test('a room that no floor has is a problem', () => {
  const problems = problemsOf({ 'cellar/wine.ts': '', 'cache/a.ts': "import { wine } from '../cellar/wine.js'" })
  expect(problems.toSorted()).toEqual([
    'cache/a.ts: imports cellar/wine.ts, which no floor has',
    'cellar/wine.ts: no floor has this room; name it in scripts/layers.mjs',
  ])
})
