/**
 * The dashboard for operators.
 *
 * @module redwell/dashboard
 */
export { basicAuth } from './basic-auth.js'
export type { BasicAuthOptions } from './basic-auth.js'
export { Dashboard, dashboard } from './dashboard.js'
export type { DashboardOptions, GuardVerdict } from './dashboard.js'
