import { createRequire } from 'node:module'
import type * as OpenTelemetry from '@opentelemetry/api'

export type Api = typeof OpenTelemetry

let loaded: Api | undefined

/** `@opentelemetry/api`, or undefined where it is not installed: telemetry is no reason for an application not to start. */
export function api(): Api | undefined {
  try {
    loaded ??= createRequire(import.meta.url)('@opentelemetry/api') as Api
  } catch {
    return undefined
  }
  return loaded
}
