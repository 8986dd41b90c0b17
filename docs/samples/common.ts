// Names that samples use without declaring them: what an application of the reader would have.
import { type CacheBackend, createRedis, type Namespace, type Redis } from 'redwell'

export { z } from 'zod'

export interface User {
  id: number
  name: string
}

export interface Product {
  id: string
  name: string
  owner: string
  price: number
}

export interface Database {
  user(id: number): Promise<User>
  updateUser(id: number, changes: Partial<User>): Promise<User>
  stats(): Promise<{ visits: number }>
  count(): Promise<number>
  find(id: string): Promise<Product>
  list(query?: unknown): Promise<Product[]>
  save(id: string, product: unknown): Promise<Product>
  delete(id: string): Promise<void>
}

export declare const db: Database
export declare const secrets: { read(name: string): Promise<string> }
export declare const url: string
export declare const redis: Redis
export declare const cache: CacheBackend
export declare const users: Namespace<number, User>
export type { CacheBackend, Namespace, Redis }
export { createRedis }
export declare const log: Pick<Console, 'error' | 'info' | 'warn'>
export declare function listProducts(): Promise<Product[]>
export declare function addProduct(product: unknown): Promise<Product>
