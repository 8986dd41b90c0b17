import { Body, Controller, Get, HttpCode, Inject, Param, Put, Session as NestSession } from '@nestjs/common'
import { IsInt, Max, Min } from 'class-validator'
import type { Session } from 'redwell'
import { type AddGroups, Cached, CacheEvict, CacheGroups, type HttpRequest, RequireSession } from 'redwell/nestjs'
import { Catalogue } from '../shop/catalogue.js'
import type { WithSession } from './account.js'
import { productGroup, ProductId } from './products.js'
import { valid } from './validation.js'

class Count {
  @IsInt()
  @Min(0)
  @Max(99)
  readonly count!: number
}

const cartGroup = ({ session }: HttpRequest & WithSession) => `cart:${session.subject}`

// A guard, so a hit never skips it.
@Controller('cart')
@RequireSession()
export class CartController {
  readonly #catalogue: Catalogue

  constructor(@Inject(Catalogue) catalogue: Catalogue) {
    this.#catalogue = catalogue
  }

  @Get()
  @Cached({ ttl: '10m', per: true, group: cartGroup })
  async list(@NestSession() { subject }: Session, @CacheGroups() addGroups: AddGroups) {
    const lines = await this.#catalogue.cartOf(String(subject))
    addGroups(...lines.map(({ id }) => productGroup(id))) // a new price shows in every cart
    return lines
  }

  @Put(':id')
  @HttpCode(204)
  @CacheEvict({ group: cartGroup })
  async put(
    @NestSession() { subject }: Session,
    @Param(valid(ProductId)) { id }: ProductId,
    @Body(valid(Count)) { count }: Count,
  ): Promise<void> {
    await this.#catalogue.putIntoCart(String(subject), id, count)
  }
}
