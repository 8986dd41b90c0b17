import { setTimeout as sleep } from 'node:timers/promises'

export interface Product {
  readonly id: string
  readonly name: string
  readonly category: Category
  readonly cents: number
}

export const CATEGORIES = ['books', 'toys'] as const

export type Category = (typeof CATEGORIES)[number]

export type NewProduct = Omit<Product, 'id'>

/** Number of pieces by the id of the product. */
export type Cart = Readonly<Record<string, number>>

/** The database of the shop, in memory. Each query takes 20 ms by default, as if it went over a network. */
export class Catalogue {
  readonly #products = new Map(PRODUCTS.map((product) => [product.id, product]))
  readonly #carts = new Map<string, Cart>()
  readonly #delayMs: number
  #nextId = PRODUCTS.length + 1
  /** Number of queries so far, which the cache keeps low. */
  queries = 0

  constructor(delayMs = 20) {
    this.#delayMs = delayMs
  }

  async list(category?: Category): Promise<readonly Product[]> {
    await this.#query()
    return [...this.#products.values()].filter((product) => category === undefined || product.category === category)
  }

  async find(id: string): Promise<Product | undefined> {
    await this.#query()
    return this.#products.get(id)
  }

  async create(product: NewProduct): Promise<Product> {
    return this.save({ ...product, id: String(this.#nextId++) })
  }

  async save(product: Product): Promise<Product> {
    await this.#query()
    this.#products.set(product.id, product)
    return product
  }

  async remove(id: string): Promise<boolean> {
    await this.#query()
    return this.#products.delete(id)
  }

  async cartOf(user: string): Promise<readonly (Product & { readonly count: number })[]> {
    await this.#query()
    return Object.entries(this.#carts.get(user) ?? {}).flatMap(([id, count]) => {
      const product = this.#products.get(id)
      return product === undefined ? [] : { ...product, count }
    })
  }

  async putIntoCart(user: string, id: string, count: number): Promise<void> {
    await this.#query()
    this.#carts.set(user, { ...this.#carts.get(user), [id]: count })
  }

  async #query(): Promise<void> {
    this.queries += 1
    if (this.#delayMs > 0) await sleep(this.#delayMs)
  }
}

/** Version 2 of the interface: a price has a currency. */
export function inVersion2({ cents, ...product }: Product): object {
  return { ...product, price: { amount: (cents / 100).toFixed(2), currency: 'EUR' } }
}

const PRODUCTS: readonly Product[] = [
  { id: '1', name: 'Solaris', category: 'books', cents: 1290 },
  { id: '2', name: 'Roadside Picnic', category: 'books', cents: 1490 },
  { id: '3', name: 'A kite', category: 'toys', cents: 2450 },
]
