import { Controller, Get, Header, Inject, Session as NestSession } from '@nestjs/common'
import type { Session } from 'redwell'
import { Cached, RedwellHealthIndicator } from 'redwell/nestjs'
import { Catalogue } from '../shop/catalogue.js'
import { startPage } from '../shop/page.js'

@Controller()
export class HomeController {
  readonly #catalogue: Catalogue
  readonly #redis: RedwellHealthIndicator

  constructor(@Inject(Catalogue) catalogue: Catalogue, @Inject(RedwellHealthIndicator) redis: RedwellHealthIndicator) {
    this.#catalogue = catalogue
    this.#redis = redis
  }

  // Each signed-in user has an entry, and all anonymous visitors share one.
  @Get()
  @Header('Content-Type', 'text/html; charset=utf-8')
  @Cached({ ttl: '1m', per: true, group: 'products' })
  async page(@NestSession() { subject }: Session): Promise<string> {
    return startPage(subject, await this.#catalogue.list())
  }

  // The shop works without Redis, only slower, so its state is no reason to answer 503.
  @Get('health')
  health() {
    return this.#redis.check('redis', { away: 'degraded' })
  }
}
