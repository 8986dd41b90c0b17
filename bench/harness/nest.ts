import { Controller, Get, type ModuleMetadata, type NestInterceptor, Param } from '@nestjs/common'
import { APP_INTERCEPTOR, NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { of } from 'rxjs'
import { tunedClient } from './client.js'
import { ITEM_COUNT, itemBytes, makeItem, TTL } from './items.js'
import type { Running, Subject } from './row.js'

export type Platform = 'express' | 'fastify'

async function listen(platform: Platform, module: ModuleMetadata): Promise<Running> {
  const options = { logger: false } as const
  const app =
    platform === 'express'
      ? await NestFactory.create(module, options)
      : await NestFactory.create(module, new FastifyAdapter(), options)
  await app.listen(0, '127.0.0.1')
  return { port: Number(new URL(await app.getUrl()).port) }
}

/** The cached route of the hit rows, on Nest. */
export function cachedItems(platform: Platform, bytes: number, url?: string): Subject {
  return async ({ redisUrl }) => {
    const { Cached, RedwellModule } = await import('redwell/nestjs')
    @Controller('items')
    class Items {
      @Get(':id')
      @Cached({ ttl: TTL })
      find(@Param('id') id: string) {
        return makeItem(id, bytes)
      }
    }
    // Connected before the first request: otherwise the first answers are misses that cannot be stored.
    const redwell = RedwellModule.forRoot({ url: url ?? redisUrl, connect: true })
    return listen(platform, { imports: [redwell], controllers: [Items] })
  }
}

type Load = (id: string) => string | undefined | null | Promise<string | null>

/**
 * What a cache by hand is in Nest: an interceptor, because those run after the guards. It answers with a text, which is
 * what Nest sends with the least ado.
 */
function byHand(load: Load, headers: Readonly<Record<string, string>>): ModuleMetadata {
  const interceptor: NestInterceptor = {
    async intercept(context, next) {
      const http = context.switchToHttp()
      const body = await load(http.getRequest<{ params: { id: string } }>().params.id)
      if (body === undefined || body === null) return next.handle()
      const response = http.getResponse<{ header(name: string, value: string): void }>()
      for (const [name, value] of Object.entries(headers)) response.header(name, value)
      return of(body)
    },
  }
  @Controller('items')
  class Items {
    @Get(':id')
    find(): never {
      throw new Error('not stored')
    }
  }
  return { controllers: [Items], providers: [{ provide: APP_INTERCEPTOR, useValue: interceptor }] }
}

/** Sends what is there already, with the header lines of the answer it imitates. */
export function prebuilt(platform: Platform, bytes: number): Subject {
  return async ({ headers = {} }) => {
    const bodies = Array.from({ length: ITEM_COUNT }, (_, n) => itemBytes(String(n), bytes).toString())
    return listen(
      platform,
      byHand((id) => bodies[Number(id)], headers),
    )
  }
}

/** The fewest lines that read an answer from Redis and send it, with the header lines of the answer it imitates. */
export function handwrittenHit(platform: Platform, bytes: number): Subject {
  return async ({ redisUrl, headers = {} }) => {
    const client = await tunedClient(redisUrl)
    for (let n = 0; n < ITEM_COUNT; n++) await client.set(`by-hand:${n}`, itemBytes(String(n), bytes))
    return listen(
      platform,
      byHand(async (id) => (await client.get(`by-hand:${id}`))?.toString() ?? null, headers),
    )
  }
}
