import { Controller, Get, Next } from '@nestjs/common'
import { expect, test } from 'vitest'
import { Redis } from '../../src/index.js'
import { RateLimit, SkipRateLimit } from '../../src/adapters/nestjs/index.js'
import { moduleOf, type Platform, start } from './app.js'

@Controller('pages')
class Pages {
  @Get('counted')
  counted(): string {
    return 'counted'
  }

  @SkipRateLimit()
  @Get('free')
  free(): string {
    return 'free'
  }
}

/** Two controllers of one name and one path, as two modules may have them. */
function controllerOf(handler: () => string) {
  @Controller({ path: 'twice' })
  class Twice {
    @RateLimit('1/hour')
    @Get()
    find(): string {
      return handler()
    }
  }
  return Twice
}

const platforms: Platform[] = ['express', 'fastify']

test.each(platforms)(
  '%s: unknown routes count for the limit of the application, within a global prefix and outside of it',
  async (platform) => {
    const module = moduleOf({ controllers: [Pages] }, { rateLimit: '4/hour' })
    const { client } = await start(platform, module, (app) => void app.setGlobalPrefix('api'))
    const seen = []
    for (const path of ['/api/pages/counted', '/api/missing', '/missing', '/api/pages/free', '/api', '/api/missing']) {
      const { status, headers } = await client.get(path)
      seen.push([status, /r=(\d)/.exec(headers['ratelimit'] ?? '')?.[1]])
    }
    expect(seen).toEqual([
      [200, '3'],
      [404, '2'],
      [404, '1'],
      [200, undefined],
      [404, '0'],
      [429, '0'],
    ])
  },
)

test('express: a request that a handler passes on is counted once', async () => {
  @Controller()
  class Passing {
    @Get('passed')
    pass(@Next() next: () => void): void {
      next()
    }
  }
  const { client } = await start('express', moduleOf({ controllers: [Passing] }, { rateLimit: '9/hour' }))
  const { status, headers } = await client.get('/passed')
  expect([status, headers['ratelimit']]).toEqual([404, expect.stringContaining('r=8')])
})

test('limits of routes that have one name are told apart by the order of their declaration, in every process', async () => {
  const controllers = [controllerOf(() => 'first'), controllerOf(() => 'second')]
  const { app } = await start('express', moduleOf({ controllers }))

  expect(
    app
      .get(Redis)
      .limits.limiters()
      .map(({ scope }) => scope),
  ).toEqual(['GET /twice', 'GET /twice#2'])
})

test('a decorator that stands twice is refused, because one of the two would not count', () => {
  const twice = (): void => {
    class Twice {
      @RateLimit('100/minute')
      @RateLimit('2/hour')
      find(): string {
        return 'found'
      }
    }
    void Twice
  }
  expect(twice).toThrow(/@RateLimit of Twice\.find.*twice/s)
})
