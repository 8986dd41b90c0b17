import type { RedisSettings } from './settings.js'

/** Node-redis clients, functions and TLS material are looked at where they are used. */
const TYPES = {
  url: 'string',
  host: 'string',
  username: 'string',
  password: 'string',
  warnUnboundedCache: 'boolean',
  trustRestarts: 'boolean',
  otel: 'boolean',
  otelRedis: 'boolean',
  credentials: 'function',
} as const satisfies Partial<Record<keyof RedisSettings, 'string' | 'boolean' | 'function'>>

/** Settings without what has the wrong type, for callers without a type checker. Never shows a value: it may be a secret. */
export function withoutWrongTypes(settings: RedisSettings, problems: string[]): RedisSettings {
  const wrong = Object.entries(TYPES).filter(([name, type]) => {
    const value = settings[name as keyof typeof TYPES]
    return value !== undefined && typeof value !== type
  })
  for (const [name, type] of wrong) problems.push(`${name}: is not a ${type}`)
  const names = new Set(wrong.map(([name]) => name))
  return Object.fromEntries(Object.entries(settings).filter(([name]) => !names.has(name)))
}
