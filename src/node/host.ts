import type { Routes, Traits } from '../route/routes.js'
import type { Refresher } from './refresher.js'

/** One application: its routes, and what its framework is like. */
export interface Host {
  readonly routes: Routes
  readonly traits: Traits
  readonly refresher: Refresher
}
