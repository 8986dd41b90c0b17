import { defineConfig } from 'vitest/config'

export default defineConfig({
  // `import 'redwell/fastify'` in a test or an example means this package's sources, built or not.
  resolve: {
    alias: [
      { find: /^redwell$/, replacement: new URL('./src/index.ts', import.meta.url).pathname },
      {
        find: /^redwell\/(devalue|msgpackr)$/,
        replacement: `${new URL('./src/cache/coders/', import.meta.url).pathname}$1.ts`,
      },
      { find: /^redwell\/([a-z]+)$/, replacement: `${new URL('./src/', import.meta.url).pathname}$1/index.ts` },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-redis.ts'],
    pool: 'forks',
    // Several tests start servers and processes of their own; the slowest machine we know has two cores.
    testTimeout: 20_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    // Errors outside the type tests belong to `npm run typecheck`.
    typecheck: {
      enabled: true,
      include: ['test/**/*.test-d.ts'],
      tsconfig: './tsconfig.json',
      ignoreSourceErrors: true,
    },
    reporters: ['default', './scripts/count-reporter.mjs'],
  },
})
