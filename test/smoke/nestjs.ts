// Compiled and run by scripts/smoke.mjs in a project that has only the packed redwell and NestJS, and no metadata of
// parameter types.
import assert from 'node:assert/strict'
import { Controller, Get, Inject, Module, Param, Post } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { CacheBackend, type Redis } from 'redwell'
import { Cached, CacheEvict, InjectRedis, RedwellModule } from 'redwell/nestjs'

let runs = 0

@Controller('x')
class Things {
  readonly cache: CacheBackend
  readonly redis: Redis

  constructor(@Inject(CacheBackend) cache: CacheBackend, @InjectRedis() redis: Redis) {
    this.cache = cache
    this.redis = redis
  }

  @Get(':id')
  @Cached({ ttl: '1m', group: 'x' })
  find(@Param('id') id: string) {
    runs += 1
    return { id, runs, same: this.cache === this.redis.cache, text: 'Grüße, 世界' }
  }

  @Post()
  @CacheEvict({ group: 'x' })
  make() {
    return 'made'
  }
}

@Module({ imports: [RedwellModule.forRoot({ url: 'memory:' })], controllers: [Things] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['error'] })
await app.listen(0, '127.0.0.1')
const url = await app.getUrl()
const ask = async (path: string, method = 'GET') => {
  const response = await fetch(url + path, { method })
  return { cache: response.headers.get('x-redis-cache'), text: await response.text() }
}

const miss = await ask('/x/1')
assert.deepEqual(JSON.parse(miss.text), { id: '1', runs: 1, same: true, text: 'Grüße, 世界' })
assert.equal(miss.cache, 'MISS')
assert.deepEqual(await ask('/x/1'), { ...miss, cache: 'HIT' })
await ask('/x', 'POST')
assert.equal((await ask('/x/1')).cache, 'MISS')

await app.close()
