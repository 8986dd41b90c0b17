import type { Namespace } from 'redwell'

export interface Product {
  id: number
  name: string
  price: number
  stock: number
}

export interface Database {
  product(id: number): Promise<Product | undefined>
  products(ids: readonly number[]): Promise<Map<number, Product>>
  orders(year: number): Promise<{ productId: number; amount: number }[]>
  updatePrice(id: number, price: number): Promise<Product>
}

export interface Token {
  value: string
  expiresInSeconds: number
}

export interface Rates {
  etag: string
  rates: Record<string, number>
}

export type { Namespace }
