import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Inject,
  Injectable,
  Module,
  NotFoundException,
  Param,
  Put,
} from '@nestjs/common'
import { CacheBackend } from 'redwell'
import { type AddGroups, Cached, CacheEvict, CacheGroups, CachePut, type HttpRequest } from 'redwell/nestjs'

interface Product {
  readonly id: string
  readonly name: string
  readonly owner: string
}

@Injectable()
class Products {
  readonly #cache: CacheBackend
  readonly #all = new Map<string, Product>([
    ['1', { id: '1', name: 'Lamp', owner: 'ann' }],
    ['2', { id: '2', name: 'Chair', owner: 'bob' }],
  ])

  // Named by a decorator: this compiles without `emitDecoratorMetadata`, as with tsx, esbuild and vitest.
  constructor(@Inject(CacheBackend) cache: CacheBackend) {
    this.#cache = cache
  }

  all(): Product[] {
    return [...this.#all.values()]
  }

  find(id: string): Product | undefined {
    return this.#all.get(id)
  }

  save(product: Product): Product {
    this.#all.set(product.id, product)
    return product
  }

  remove(matches: (product: Product) => boolean): void {
    for (const product of this.all()) if (matches(product)) this.#all.delete(product.id)
  }

  async count(): Promise<number | undefined> {
    return this.#cache.getOrSet('count', () => this.#all.size, { ttl: '1m', group: 'lists' })
  }
}

@Controller()
class ProductsController {
  readonly #products: Products

  constructor(@Inject(Products) products: Products) {
    this.#products = products
  }

  @Get('products')
  @Cached({ ttl: '1m', group: 'lists' })
  list() {
    return this.#products.all()
  }

  @Get('products/:id')
  @Cached({ ttl: '5m', group: 'products' })
  find(@Param('id') id: string, @CacheGroups() addGroups: AddGroups) {
    const product = this.#products.find(id)
    if (product === undefined) throw new NotFoundException('no such product')
    addGroups(`owner:${product.owner}`)
    return product
  }

  // The next GET of this path is a HIT with this body, and lists are made anew.
  @Put('products/:id')
  @CachePut({ ttl: '5m', group: ({ body }: HttpRequest) => ['products', `owner:${(body as Product).owner}`] })
  @CacheEvict({ group: 'lists' })
  save(@Param('id') id: string, @Body() { name, owner }: Pick<Product, 'name' | 'owner'>) {
    return this.#products.save({ id, name, owner })
  }

  @Delete('products/:id')
  @HttpCode(204)
  @CacheEvict({ key: 'path', group: 'lists' })
  remove(@Param('id') id: string): void {
    this.#products.remove((product) => product.id === id)
  }

  @Delete('owners/:owner/products')
  @HttpCode(204)
  @CacheEvict({ group: ({ params }: HttpRequest) => [`owner:${(params as { owner: string }).owner}`, 'lists'] })
  removeOf(@Param('owner') owner: string): void {
    this.#products.remove((product) => product.owner === owner)
  }

  @Get('count')
  count() {
    return this.#products.count()
  }
}

@Module({ controllers: [ProductsController], providers: [Products] })
export class ProductsModule {}
