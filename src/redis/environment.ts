import { type SessionSettings, withoutUndefined } from './settings.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** Reads variables; an empty one counts as one that is not set. */
export function environmentReaders(env: Environment, problems: string[]) {
  const text = (name: string): string | undefined => (env[name] === '' ? undefined : env[name])
  const number = (name: string): number | undefined => {
    const value = text(name)
    if (value === undefined) return undefined
    if (/^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/.test(value)) return Number(value)
    problems.push(`${name}: '${value}' is not a number`)
    return undefined
  }
  const flag = (name: string): boolean | undefined => {
    const value = text(name)
    if (value === undefined) return undefined
    const is = (words: RegExp): boolean => words.test(value.trim())
    if (!is(/^(true|1|yes|false|0|no)$/i)) problems.push(`${name}: '${value}' is not one of true, false, 1, 0, yes, no`)
    return is(/^(true|1|yes)$/i)
  }
  return { text, number, flag }
}

/** What `REDIS_SESSION_…` say; the options of sessions outrank them, and say what contradicts itself. */
export function readSessionSettings(env: Environment, problems: string[]): SessionSettings {
  const { text, number, flag } = environmentReaders(env, problems)
  const seconds = (name: string): number | undefined => {
    const value = number(name)
    if (value === undefined || value > 0) return value === undefined ? undefined : Math.ceil(value * 1000)
    problems.push(`${name}: must be more than 0 seconds`)
    return undefined
  }
  const names = text('REDIS_SESSION_PRINCIPAL_KEYS')
    ?.split(',')
    .map((name) => name.trim())
  if (names?.includes('') === true) problems.push('REDIS_SESSION_PRINCIPAL_KEYS: an empty name between commas')
  return withoutUndefined({
    cookieName: text('REDIS_SESSION_COOKIE_NAME'),
    cookiePath: text('REDIS_SESSION_COOKIE_PATH'),
    cookieDomain: text('REDIS_SESSION_COOKIE_DOMAIN'),
    cookieHttpsOnly: flag('REDIS_SESSION_COOKIE_HTTPS_ONLY'),
    cookieSameSite: sameSite(text('REDIS_SESSION_COOKIE_SAME_SITE'), problems),
    idleTtlMs: seconds('REDIS_SESSION_IDLE_TTL'),
    absoluteTtlMs: seconds('REDIS_SESSION_ABSOLUTE_TTL'),
    gcTtlMs: seconds('REDIS_SESSION_GC_TTL'),
    refreshOnLoad: flag('REDIS_SESSION_REFRESH_ON_LOAD'),
    failClosed: flag('REDIS_SESSION_FAIL_CLOSED'),
    principalKeys: names,
  })
}

function sameSite(value: string | undefined, problems: string[]): SessionSettings['cookieSameSite'] {
  const name = value?.toLowerCase()
  if (name === undefined || name === 'lax' || name === 'strict' || name === 'none') return name
  problems.push(`REDIS_SESSION_COOKIE_SAME_SITE: '${value}' is not one of lax, strict, none`)
  return undefined
}
