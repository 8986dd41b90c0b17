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

export default defineConfig({
  resolve: { alias: sources },
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
