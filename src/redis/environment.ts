import { durationMs } from '../duration.js'
import { nearestName } from '../errors.js'
import { type SessionSettings, withoutUndefined } from './settings.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** Reads variables; an empty one counts as one that is not set. `asked` collects their names. */
export function environmentReaders(env: Environment, problems: string[], asked: Set<string>) {
  const text = (name: string): string | undefined => {
    asked.add(name)
    return env[name] === '' ? undefined : env[name]
  }
  const number = (name: string, unit = ''): number | undefined => {
    const value = text(name)
    if (value === undefined) return undefined
    if (/^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/.test(value)) return Number(value)
    const ms = unit === '' ? undefined : durationMs(value.trim())
    problems.push(`${name}: '${value}' is not a number${unit}${ms === undefined ? '' : `; write ${ms / 1000}`}`)
    return undefined
  }
  const duration = (name: string): number | undefined => number(name, ' of seconds')
  const flag = (name: string): boolean | undefined => {
    const value = text(name)
    if (value === undefined) return undefined
    const is = (words: RegExp): boolean => words.test(value.trim())
    if (!is(/^(true|1|yes|false|0|no)$/i)) problems.push(`${name}: '${value}' is not one of true, false, 1, 0, yes, no`)
    return is(/^(true|1|yes)$/i)
  }
  return { text, number, duration, flag }
}

/** A link of Kubernetes or Docker to a service that is called `redis`; it is no port. */
const SERVICE_LINK = /^(?:tcp|udp):\/\//

/** The variables that are meant for us. */
export function ownVariables(env: Environment, warnings: string[]): Environment {
  const { REDIS_PORT: port, ...others } = env
  if (port === undefined || !SERVICE_LINK.test(port)) return env
  warnings.push(
    `redwell: REDIS_PORT is ignored: '${port}' is what Kubernetes and Docker set for a service called redis. Write enableServiceLinks: false, or give the service another name`,
  )
  return others
}

/** Variables that are probably misspelt. Others may belong to anything else. */
export function misspelt(env: Environment, asked: ReadonlySet<string>): readonly string[] {
  return Object.keys(env).flatMap((name) => {
    const meant = name.startsWith('REDIS_') && !asked.has(name) ? nearestName(name, [...asked]) : undefined
    return meant === undefined
      ? []
      : [`redwell: ${name} is ignored, because it is not a setting; did you mean ${meant}?`]
  })
}

/** What `REDIS_SESSION_…` say; the options of sessions outrank them, and say what contradicts itself. */
export function readSessionSettings(env: Environment, problems: string[], asked: Set<string>): SessionSettings {
  const { text, duration, flag } = environmentReaders(env, problems, asked)
  const seconds = (name: string): number | undefined => {
    const value = duration(name)
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
