import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import packageJson from './package.json' with { type: 'json' }

/** `import 'redwell/fastify'` in a test or an example means this package's sources, built or not. */
const sources = Object.entries(packageJson.exports).flatMap(([entry, target]) =>
  typeof target === 'string'
    ? []
    : {
        find: new RegExp(`^redwell${entry.slice(1)}$`),
        replacement: new URL(target.default.replace('dist/', 'src/').replace('.js', '.ts'), import.meta.url).pathname,
      },
)

/** The packages of NestJS 11 in the place of those of 12: they need each other at one version. */
const nest11 = {
  find: /^@nestjs\/(common|core|platform-express|platform-fastify)(?=$|\/)/,
  replacement: new URL('test/peers/nest11/node_modules/@nestjs/$1', import.meta.url).pathname,
}

const NEST_11 = 'test/**/nest11*.test.ts'

/** Soaks and full matrices: `npm run test:long`. */
const LONG = 'test/**/*.long.test.ts'

/** Folders whose tests leave no state in modules: their files share one worker's modules, which halves the run. */
const SHARING = ['adapters', 'cache', 'data', 'express', 'fastify', 'hono', 'http', 'nestjs', 'route', 'store']

const shared = SHARING.map((folder) => `test/${folder}/**/*.test.ts`)

const long = process.env['REDWELL_TEST_LONG'] === 'true'

const common = {
  pool: 'forks',
  // Several tests start servers and processes of their own; the slowest machine we know has two cores.
  testTimeout: 20_000,
  hookTimeout: 30_000,
  teardownTimeout: 10_000,
  // Real servers and processes on a shared machine can miss a deadline once; what fails twice is a fault.
  retry: process.env['CI'] === undefined ? 0 : 1,
} as const

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-redis.ts'],
    // Most tests wait for sockets and processes: one worker more than cores keeps every core busy.
    maxWorkers: availableParallelism() + 1,
    reporters: ['default', './scripts/count-reporter.mjs'],
    projects: [
      {
        resolve: { alias: sources },
        test: {
          ...common,
          name: 'isolated',
          include: [long ? LONG : 'test/**/*.test.ts'],
          exclude: long ? [NEST_11] : [LONG, ...shared],
        },
      },
      {
        resolve: { alias: [...sources, nest11] },
        test: { ...common, name: 'nest11', include: [NEST_11], exclude: long ? [] : [LONG] },
      },
      {
        resolve: { alias: sources },
        test: {
          ...common,
          name: 'shared',
          isolate: false,
          include: long ? [] : shared,
          exclude: [LONG, NEST_11],
          // Errors outside the type tests belong to `npm run typecheck`.
          typecheck: {
            enabled: !long,
            include: ['test/**/*.test-d.ts'],
            tsconfig: './tsconfig.json',
            ignoreSourceErrors: true,
          },
        },
      },
    ],
  },
})
