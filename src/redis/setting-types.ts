import { describeValue, isOptionsObject, SettingsError, unknownOptions } from '../errors.js'
import type { ClusterOptions, NearOptions, RedisSettings, SentinelOptions, TlsOptions } from './settings.js'

/** `duration`: checked where it is used. `switch`: true, false or an object of options. `options`: such an object, or false. */
type Kind = 'string' | 'number' | 'boolean' | 'function' | 'duration' | 'object' | 'switch' | 'options'

type MemberKind = 'string' | 'name' | 'boolean' | 'pem' | 'nodes' | 'any'

/** Each setting: its type in code, for callers without a type checker, and its variable. */
export const SETTINGS: Readonly<Record<keyof RedisSettings, readonly [kind: Kind, variable?: string]>> = {
  url: ['string', 'REDIS_URL'],
  host: ['string', 'REDIS_HOST'],
  port: ['number', 'REDIS_PORT'],
  db: ['number', 'REDIS_DB'],
  username: ['string', 'REDIS_USERNAME'],
  password: ['string', 'REDIS_PASSWORD'],
  credentials: ['function'],
  tls: ['switch'],
  cluster: ['switch'],
  sentinel: ['options'],
  maxConnections: ['number', 'REDIS_MAX_CONNECTIONS'],
  socketTimeout: ['duration', 'REDIS_SOCKET_TIMEOUT'],
  connectTimeout: ['duration', 'REDIS_SOCKET_CONNECT_TIMEOUT'],
  commandTimeout: ['duration'],
  invalidationTimeout: ['duration', 'REDIS_INVALIDATION_TIMEOUT'],
  waitForReplicas: ['number'],
  trustRestarts: ['boolean'],
  resp: ['number'],
  near: ['object'],
  prefix: ['string', 'REDIS_PREFIX'],
  application: ['string', 'REDIS_APPLICATION'],
  defaultTtl: ['duration', 'REDIS_DEFAULT_TTL'],
  warnUnboundedCache: ['boolean', 'REDIS_WARN_UNBOUNDED_CACHE'],
  otel: ['boolean', 'REDIS_OTEL_ENABLED'],
  otelRedis: ['boolean', 'REDIS_OTEL_REDIS_ENABLED'],
  rateLimitDefaultLimit: ['number', 'REDIS_RATE_LIMIT_DEFAULT_LIMIT'],
  rateLimitDefaultWindow: ['duration', 'REDIS_RATE_LIMIT_DEFAULT_WINDOW'],
  rateLimitFailClosed: ['boolean', 'REDIS_RATE_LIMIT_FAIL_CLOSED'],
  rateLimitEmitHeaders: ['boolean', 'REDIS_RATE_LIMIT_EMIT_HEADERS'],
  rateLimitIetfHeaders: ['boolean', 'REDIS_RATE_LIMIT_IETF_HEADERS'],
  operate: ['boolean', 'REDIS_OPERATE_ENABLED'],
  client: ['object'],
}

/** The names of all settings. */
export const SETTING_NAMES: readonly string[] = Object.keys(SETTINGS)

/** Members of the settings that are objects. */
const MEMBERS: ReadonlyMap<string, Readonly<Record<string, MemberKind>>> = new Map<string, Record<string, MemberKind>>([
  [
    'tls',
    { cert: 'pem', key: 'pem', ca: 'pem', checkHostname: 'boolean' } satisfies Record<keyof TlsOptions, MemberKind>,
  ],
  [
    'sentinel',
    { nodes: 'nodes', masterName: 'name', username: 'string', password: 'string' } satisfies Record<
      keyof SentinelOptions,
      MemberKind
    >,
  ],
  ['cluster', { nodes: 'nodes' } satisfies Record<keyof ClusterOptions, MemberKind>],
  // Checked where it is used.
  ['near', { maxBytes: 'any' } satisfies Record<keyof NearOptions, MemberKind>],
])

/** Settings without those of a wrong type or an unknown name. Shows no value but numbers: another may be a secret. */
export function checkTypes(settings: RedisSettings, problems: string[]): RedisSettings {
  if (Object.keys(settings).some((name) => /^\d+$/.test(name)))
    throw new SettingsError(["settings must be an object, such as { url: 'redis://…' }, not a string"])
  problems.push(...unknownOptions(settings, SETTING_NAMES, false))
  const wrong = new Set<string>()
  for (const [name, members] of MEMBERS) {
    const given: unknown = Reflect.get(settings, name)
    if (typeof given !== 'object' || given === null) continue
    problems.push(...unknownOptions(given, Object.keys(members), false).map((problem) => `${name}.${problem}`))
    for (const [member, kind] of Object.entries(members)) {
      const problem = memberProblem(kind, Reflect.get(given, member))
      if (problem === undefined) continue
      problems.push(`${name}.${member}: ${problem}`)
      wrong.add(name)
    }
  }
  const valid = Object.entries(SETTINGS).flatMap(([name, [kind]]) => {
    const value: unknown = Reflect.get(settings, name)
    const problem = value === undefined ? undefined : typeProblem(kind, value)
    if (problem !== undefined) problems.push(`${name}: ${problem}`)
    return problem === undefined && !wrong.has(name) ? [[name, value]] : []
  })
  return Object.fromEntries(valid)
}

function typeProblem(kind: Kind, value: unknown): string | undefined {
  if (kind === 'duration') return undefined
  if (kind === 'object' || kind === 'switch' || kind === 'options') return objectProblem(kind, value)
  if (typeof value === kind) return undefined
  return kind === 'number' ? `${shown(value)} is not a number` : `is not a ${kind}`
}

function objectProblem(kind: 'object' | 'switch' | 'options', value: unknown): string | undefined {
  if (isOptionsObject(value) || (kind !== 'object' && value === false) || (kind === 'switch' && value === true))
    return undefined
  const rule = { object: 'an object', switch: 'true, false or an object', options: 'an object or false' }[kind]
  const given = typeof value === 'object' ? describeValue(value) : shown(value)
  return `${given} must be ${rule}${given === 'a promise' ? '; await it first' : ''}`
}

/** A number in quotes, with its quotes; any other text may be a secret in the wrong place. */
export function shown(value: unknown): string {
  return typeof value === 'string' && /^\s*[\d.]*\s*$/.test(value) ? `the string '${value}'` : `a ${typeof value}`
}

const MEMBER_RULES: Readonly<Record<MemberKind, readonly [rule: string, isValid: (value: unknown) => boolean]>> = {
  string: ['must be a string', isString],
  name: ['must be a non-empty text', (value) => isString(value) && value.trim() !== ''],
  boolean: ['must be true or false', (value) => typeof value === 'boolean'],
  pem: ['must be a PEM text, its bytes, or the path of a file', (value) => isString(value) || Buffer.isBuffer(value)],
  nodes: [
    'must be host[:port], in a list or separated by commas',
    (value) => isString(value) || (Array.isArray(value) && value.every(isString)),
  ],
  any: ['', () => true],
}

function isString(value: unknown): value is string {
  return typeof value === 'string'
}

function memberProblem(kind: MemberKind, value: unknown): string | undefined {
  const [rule, isValid] = MEMBER_RULES[kind]
  return value === undefined || isValid(value)
    ? undefined
    : `${typeof value === 'object' ? describeValue(value) : shown(value)} ${rule}`
}
