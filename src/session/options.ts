import { DURATION_RULE, durationMs } from '../duration.js'
import { describeValue, isOptionsObject, OptionsError, unknownOptions } from '../errors.js'
import { isPromise } from '../maybe-promise.js'
import { type CookiePolicy, cookieProblems } from './cookie.js'
import { CoderForm, JsonForm, type ValueForm } from './form.js'
import { type Sealer, sealerOf, secretProblems } from './secrets.js'
import type { SessionSettings } from '../redis/settings.js'
import type { SessionStore } from './session-store.js'
import type { SessionCookieOptions, SessionData, SessionOptions, SessionPrincipal, SessionSchema } from './types.js'

/** Options with everything decided. Functions of the request are called with the framework's own. */
export interface SessionPolicy {
  /** Undefined: where the application keeps everything else. */
  readonly store: SessionStore | undefined
  readonly cookie: CookiePolicy
  readonly idleMs: number
  readonly absoluteMs: number
  /** How long the record of a subject is kept. */
  readonly keepMs: number
  readonly principal: (data: SessionData) => string | undefined
  /** Undefined where no principal is. */
  readonly subject: (data: SessionData) => string | undefined
  /** Principal and subject in one text: where it changes, the session passes to another. */
  readonly identity: (data: SessionData) => string | undefined
  readonly describe: ((request: never) => string | undefined) | undefined
  readonly skip: ((request: never) => boolean) | undefined
  /** Infinity: no limit. */
  readonly maxPerSubject: number
  readonly initial: (() => SessionData) | undefined
  readonly schema: SessionSchema | undefined
  readonly sealer: Sealer | undefined
  readonly form: ValueForm
  readonly failClosed: boolean
  readonly refreshOnLoad: boolean
}

const DEFAULT_IDLE_MS = 30 * 60_000

const DEFAULT_ABSOLUTE_MS = 8 * 3_600_000

const DAY_MS = 86_400_000

/** Stored as twelve digits of milliseconds. */
const IDLE_MAX_MS = 10_000 * DAY_MS

const DEFAULT_PRINCIPAL_KEYS = ['userId']

/** Where policies come from in errors. */
const WHERE = 'options of sessions'

/** What a store has to have. */
const STORE_METHODS: readonly (keyof SessionStore)[] = [
  ...(['load', 'create', 'save', 'rotate', 'end', 'describe'] as const),
  ...(['admit', 'withdraw', 'has', 'handles', 'revokeAll'] as const),
]

/** Each option's check, for callers without a type checker; a name that is missing here does not compile. */
const OPTIONS: Readonly<Record<keyof SessionOptions, ((value: unknown) => string | undefined) | undefined>> = {
  store: hasMethods(...STORE_METHODS),
  cookie: isObject('an object of attributes'),
  idleTtl: isDuration,
  absoluteTtl: isDuration,
  gcTtl: isDuration,
  principal: isFunction,
  principalKeys: isList,
  subject: isFunction,
  describe: isFunction,
  maxPerSubject: (value) =>
    Number.isInteger(value) && Number(value) >= 1 ? undefined : 'must be a whole number of sessions, at least 1',
  initial: (value) =>
    typeof value === 'function'
      ? undefined
      : 'must be a function that returns the data of a new session, such as () => ({ cart: [] })',
  schema: (value) =>
    Object(value) === value && '~standard' in (value as object) ? undefined : 'is not a Standard Schema',
  // Its own check names the secret by its place: a message must not show it.
  secrets: undefined,
  encryptor: hasMethods('encrypt', 'decrypt'),
  coder: (value) =>
    isText(Reflect.get(Object(value) as object, 'name')) === undefined
      ? hasMethods('encode', 'decode')(value)
      : 'needs a `name`, encode() and decode()',
  skip: isFunction,
  whenUnavailable: isOneOf('anonymous', 'fail'),
  refresh: isOneOf('load', 'write'),
}

const COOKIE: Readonly<Record<keyof SessionCookieOptions, (value: unknown) => string | undefined>> = {
  name: isText,
  path: isText,
  domain: isText,
  secure: isFlag,
  sameSite: isOneOf('lax', 'strict', 'none'),
  partitioned: isFlag,
  persistent: isFlag,
}

/** Throws OptionsError with every problem, those of the variables included. */
export function resolveSessions(options: SessionOptions, settings: SessionSettings = {}): SessionPolicy {
  const problems = check(options, OPTIONS, '')
  if (problems.length === 0) problems.push(...check(options.cookie ?? {}, COOKIE, 'cookie.'))
  // What a value of another type would mean is not worth a second message.
  if (problems.length > 0) throw new OptionsError(WHERE, problems)
  const cookie = resolveCookie(options.cookie ?? {}, settings)
  const idleMs = durationMs(options.idleTtl) ?? settings.idleTtlMs ?? DEFAULT_IDLE_MS
  const absoluteMs = durationMs(options.absoluteTtl) ?? settings.absoluteTtlMs ?? DEFAULT_ABSOLUTE_MS
  const keepMs = durationMs(options.gcTtl) ?? settings.gcTtlMs ?? absoluteMs
  problems.push(...cookieProblems(cookie), ...lifeProblems(idleMs, absoluteMs, keepMs), ...pairProblems(options))
  problems.push(...secretProblems(options.secrets))
  if (problems.length > 0) throw new OptionsError(WHERE, problems)
  const { coder, schema, initial, describe, skip, store, maxPerSubject = Infinity } = options
  const principal = principalOf(options, settings)
  return {
    ...whoOf(principal, options),
    cookie,
    idleMs,
    absoluteMs,
    keepMs,
    maxPerSubject,
    sealer: sealerOf(options.secrets, options.encryptor),
    form: coder === undefined ? new JsonForm() : new CoderForm(coder),
    failClosed: (options.whenUnavailable ?? (settings.failClosed === true ? 'fail' : 'anonymous')) === 'fail',
    refreshOnLoad: (options.refresh ?? (settings.refreshOnLoad === false ? 'write' : 'load')) === 'load',
    ...{ store, schema },
    initial: initial && synchronous('initial', initial, isRecord, 'an object'),
    describe: describe && synchronous('describe', describe, isDescriptor, 'a string or undefined'),
    skip: skip && synchronous('skip', skip, (value) => !isPromise(value), 'true or false'),
  }
}

function resolveCookie(options: SessionCookieOptions, settings: SessionSettings): CookiePolicy {
  const path = options.path ?? settings.cookiePath ?? '/'
  const domain = options.domain ?? settings.cookieDomain
  const secure = options.secure ?? settings.cookieHttpsOnly ?? true
  const name = secure && path === '/' && domain === undefined ? '__Host-session' : 'session'
  return {
    name: options.name ?? settings.cookieName ?? name,
    path,
    domain,
    secure,
    sameSite: options.sameSite ?? settings.cookieSameSite ?? 'lax',
    partitioned: options.partitioned ?? false,
    persistent: options.persistent ?? true,
  }
}

function lifeProblems(idleMs: number, absoluteMs: number, keepMs: number): string[] {
  const problems: string[] = []
  if (idleMs < 1000) problems.push('idleTtl: must be at least one second')
  if (idleMs > IDLE_MAX_MS) problems.push(`idleTtl: must be at most ${IDLE_MAX_MS / DAY_MS} days`)
  if (absoluteMs < idleMs) {
    problems.push(
      `absoluteTtl: ${absoluteMs / 1000} s is shorter than idleTtl (${idleMs / 1000} s), which would then have no effect`,
    )
  }
  if (keepMs < absoluteMs) problems.push('gcTtl: is shorter than absoluteTtl, so revocations would expire too early')
  return problems
}

function pairProblems({ principal, principalKeys, secrets, encryptor }: SessionOptions): string[] {
  const problems: string[] = []
  if (principal !== undefined && principalKeys !== undefined)
    problems.push('principalKeys: cannot be combined with `principal`')
  if (secrets !== undefined && encryptor !== undefined) problems.push('encryptor: cannot be combined with `secrets`')
  return problems
}

function principalOf(options: SessionOptions, settings: SessionSettings): SessionPolicy['principal'] {
  if (options.principal !== undefined) return textOf('principal', options.principal)
  const names = options.principalKeys ?? settings.principalKeys ?? DEFAULT_PRINCIPAL_KEYS
  const [only, ...others] = names
  if (only !== undefined && others.length === 0) return textOf(only, (data) => valueOf(data, only))
  return textOf('principalKeys', (data) => {
    const values = names.map((name) => textOf(name, (own) => valueOf(own, name))(data))
    return values.every((value) => value === undefined) ? undefined : JSON.stringify(values)
  })
}

/** Without a subject the principal counts: otherwise the session could not be revoked with the others. */
function whoOf(
  principal: SessionPolicy['principal'],
  { subject: own }: SessionOptions,
): Pick<SessionPolicy, 'principal' | 'subject' | 'identity'> {
  if (own === undefined) return { principal, subject: principal, identity: principal }
  const ownerOf = textOf('subject', own)
  const subject: SessionPolicy['subject'] = (data) => {
    const who = principal(data)
    return who === undefined ? undefined : (ownerOf(data) ?? who)
  }
  const identity: SessionPolicy['identity'] = (data) => {
    const who = principal(data)
    return who === undefined ? undefined : JSON.stringify([who, ownerOf(data) ?? who])
  }
  return { principal, subject, identity }
}

/** A function of the options whose promise would count as a result. */
function synchronous<A extends readonly never[], R>(
  name: string,
  ask: (...args: A) => R,
  isValid: (value: unknown) => boolean,
  what: string,
): (...args: A) => R {
  return (...args) => {
    const value = ask(...args)
    if (isValid(value)) return value
    const shown = isPromise(value) ? 'a promise' : describeValue(value)
    throw new OptionsError(WHERE, [`${name}: returned ${shown}; it must return ${what}, and not asynchronously`])
  }
}

function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isPromise(value)
}

function isDescriptor(value: unknown): boolean {
  return value === undefined || typeof value === 'string'
}

function valueOf(data: SessionData, name: string): SessionPrincipal {
  return (data as Readonly<Record<string, SessionPrincipal>>)[name]
}

/** Rejects objects, which would all become the principal `[object Object]`. */
function textOf(
  where: string,
  ask: (data: SessionData) => SessionPrincipal,
): (data: SessionData) => string | undefined {
  return (data) => {
    const value: unknown = ask(data)
    if (value === undefined || value === null || value === '' || Number.isNaN(value)) return undefined
    if (typeof value === 'string') return value
    if (typeof value === 'number' || typeof value === 'bigint') return String(value)
    throw new OptionsError(WHERE, [
      `${where}: ${describeValue(value)} does not identify a user; it must be a string or a number`,
    ])
  }
}

function check(
  options: object,
  table: Readonly<Record<string, ((value: unknown) => string | undefined) | undefined>>,
  head: string,
): string[] {
  if (!isOptionsObject(options))
    return [`${head === '' ? '' : 'cookie: '}${describeValue(options)} must be an object of options`]
  const problems = unknownOptions(options, Object.keys(table), false).map((problem) => head + problem)
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    const problem = value === undefined ? undefined : table[name]?.(value)
    if (problem !== undefined) problems.push(`${head}${name}: ${problem}`)
  }
  return problems
}

function isDuration(value: unknown): string | undefined {
  return durationMs(value) === undefined ? `${describeValue(value)} is not ${DURATION_RULE}` : undefined
}

function isFunction(value: unknown): string | undefined {
  return typeof value === 'function' ? undefined : 'must be a function'
}

function isText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? undefined : 'must be a string'
}

function isFlag(value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'must be true or false'
}

function isList(value: unknown): string | undefined {
  const isNames =
    Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === 'string' && name !== '')
  return isNames ? undefined : 'must be a list of property names'
}

function isObject(what: string) {
  return (value: unknown): string | undefined => (isOptionsObject(value) ? undefined : `must be ${what}`)
}

function isOneOf(...values: readonly string[]) {
  return (value: unknown): string | undefined =>
    values.includes(String(value)) ? undefined : `${describeValue(value)} is not one of ${values.join(', ')}`
}

function hasMethods(...names: readonly string[]) {
  return (value: unknown): string | undefined => {
    const has = (name: string): boolean => typeof Reflect.get(value as object, name) === 'function'
    return typeof value === 'object' && value !== null && names.every(has)
      ? undefined
      : `needs ${names.map((name) => `${name}()`).join(' and ')}`
  }
}
