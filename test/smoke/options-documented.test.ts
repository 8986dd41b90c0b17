import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { OPTION_NAMES } from '../../src/create-redis.js'
import type { RedwellExpressOptions } from '../../src/adapters/express/index.js'
import type { RedwellFastifyOptions } from '../../src/adapters/fastify/index.js'
import type { RedwellHonoOptions } from '../../src/adapters/hono/index.js'
import type { RedwellModuleExtras, RedwellModuleOptions } from '../../src/adapters/nestjs/index.js'
import type { RedisOptions } from '../../src/index.js'

type OfAdapters = Exclude<
  keyof (Required<RedwellFastifyOptions> &
    Required<RedwellHonoOptions> &
    Required<RedwellExpressOptions> &
    Required<RedwellModuleOptions> &
    Required<RedwellModuleExtras>),
  keyof RedisOptions
>

/** A name that is missing here does not compile. */
const ADAPTERS: Readonly<Record<OfAdapters, true>> = {
  redis: true,
  principal: true,
  connect: true,
  rateLimit: true,
  names: true,
  fetch: true,
  global: true,
  name: true,
}

test('docs/settings.md has every option of createRedis and of the frameworks, with its default and its meaning', () => {
  const page = readFileSync(new URL('../../docs/settings.md', import.meta.url), 'utf8')
  const rows = page.split('\n').filter((line) => line.startsWith('| `'))
  const isDocumented = (name: string): boolean =>
    rows.some((row) => {
      const [option = '', ...cells] = row.split(' | ').map((cell) => cell.replaceAll(/^\| |\s*\|$/g, '').trim())
      return option.split(/[\s<]/)[0] === `\`${name}\`` && cells.length >= 2 && cells.every((cell) => cell !== '')
    })
  expect([...OPTION_NAMES, ...Object.keys(ADAPTERS)].filter((name) => !isDocumented(name))).toEqual([])
})
