import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Inject,
  NotFoundException,
  Param,
  Post,
  Put,
  Query,
  UseGuards,
} from '@nestjs/common'
import { IsIn, IsInt, IsOptional, Length, Matches, Min } from 'class-validator'
import { Cached, CacheEvict, CachePut, type HttpRequest, RequireSession } from 'redwell/nestjs'
import { Catalogue, CATEGORIES, type Category, inVersion2, type Product } from '../shop/catalogue.js'
import { StaffGuard } from './account.js'
import { valid } from './validation.js'

export class ProductId {
  @Matches(/^[0-9]{1,9}$/)
  readonly id!: string
}

class ListQuery {
  @IsOptional()
  @IsIn(CATEGORIES)
  readonly category?: Category
}

class ProductBody {
  @Length(1, 100)
  readonly name!: string

  @IsIn(CATEGORIES)
  readonly category!: Category

  @IsInt()
  @Min(0)
  readonly cents!: number
}

/** Entries that show a product carry this group. */
export const productGroup = (id: string) => `product:${id}`

const groupOf = ({ params }: HttpRequest) => productGroup((params as ProductId).id)

/** Signed-in users see the same products as everybody: `shared`. */
const LIST = { ttl: '1m', group: 'products', shared: true, query: { only: ['category'] } } as const

const ITEM = { ttl: { 200: '5m', 404: '10s' }, group: groupOf, shared: true, query: { only: [] } } as const

/** Both versions of a product carry its group, so a write evicts both. */
const CHANGED = { group: (request: HttpRequest) => ['products', groupOf(request)] }

/** The products in one version of the interface. */
abstract class ProductRoutes {
  protected readonly catalogue: Catalogue

  // Named by a decorator: this compiles without `emitDecoratorMetadata`.
  constructor(@Inject(Catalogue) catalogue: Catalogue) {
    this.catalogue = catalogue
  }

  protected abstract shown(product: Product): object

  @Get()
  @Cached(LIST)
  async list(@Query(valid(ListQuery)) { category }: ListQuery) {
    const list = await this.catalogue.list(category)
    return list.map((one) => this.shown(one))
  }

  @Get(':id')
  @Cached(ITEM)
  async find(@Param(valid(ProductId)) { id }: ProductId) {
    const found = await this.catalogue.find(id)
    if (found === undefined) throw new NotFoundException('no such product')
    return this.shown(found)
  }

  @Post()
  @RequireSession()
  @UseGuards(StaffGuard)
  // "No such product" may be cached for the new id, so it is evicted as well.
  @CacheEvict({ group: (_request, result) => ['products', productGroup(result.json<Product>().id)] })
  async create(@Body(valid(ProductBody)) body: ProductBody) {
    return this.shown(await this.catalogue.create(body))
  }

  // The next GET of this path is a HIT with this response. Lists, carts and the other version are evicted.
  @Put(':id')
  @RequireSession()
  @UseGuards(StaffGuard)
  @CachePut(ITEM)
  @CacheEvict(CHANGED)
  async save(@Param(valid(ProductId)) { id }: ProductId, @Body(valid(ProductBody)) body: ProductBody) {
    return this.shown(await this.catalogue.save(Object.assign(body, { id })))
  }

  @Delete(':id')
  @HttpCode(204)
  @RequireSession()
  @UseGuards(StaffGuard)
  @CacheEvict(CHANGED)
  async remove(@Param(valid(ProductId)) { id }: ProductId): Promise<void> {
    if (!(await this.catalogue.remove(id))) throw new NotFoundException('no such product')
  }
}

@Controller({ path: 'products', version: '1' })
export class ProductsController extends ProductRoutes {
  protected shown(product: Product): object {
    return product
  }
}

@Controller({ path: 'products', version: '2' })
export class ProductsControllerV2 extends ProductRoutes {
  protected shown(product: Product): object {
    return inVersion2(product)
  }
}
