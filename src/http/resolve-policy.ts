import { checkOptions } from './check-options.js'
import type { HttpOptions } from './http-options.js'
import type { HttpPolicy } from './http-policy.js'
import { OptionReader } from './option-reader.js'
import { type Preset, PRESETS } from './preset.js'
import { normaliser } from './vary-value.js'

/** What is known beside the options of the route. */
export interface HttpDefaults {
  /** `REDIS_DEFAULT_TTL` in milliseconds; 0 keeps entries until they are evicted. Default 0. */
  readonly defaultTtlMs?: number | undefined
}

/**
 * Resolves options as written on a route. Never throws: each problem goes into `problems` and its option has its
 * default.
 */
export function resolveHttpPolicy(options: HttpOptions, problems: string[], defaults: HttpDefaults = {}): HttpPolicy {
  const read = new OptionReader(options as Readonly<Record<string, unknown>>, problems)
  const name = read.choice('preset', ['app', 'rfc9111'], 'app')
  const preset = PRESETS[name]
  const policy: HttpPolicy = {
    preset: name,
    ...resolveLifetimes(read, preset),
    defaultTtlMs: preset.useDefaultTtl ? endless(defaults.defaultTtlMs ?? 0) : undefined,
    ...resolveStorage(read, preset),
    ...resolveSharing(options, read, preset),
    ...resolveFields(read, preset),
    ...resolveSwitches(read, preset),
  }
  checkOptions(options, policy, problems)
  return Object.freeze(policy)
}

function resolveLifetimes(read: OptionReader, preset: Preset) {
  const staleOnError = read.flag('staleOnError', preset.staleOnError)
  return {
    ttlMs: resolveTtl(read),
    swrMs: read.duration('staleWhileRevalidate', 0),
    sieMs: read.duration('staleIfError', 0),
    staleOnError,
    retainMs: read.duration('retain', staleOnError ? PRESETS.rfc9111.retainMs : preset.retainMs),
    jitter: read.fraction('jitter', 0),
    override: read.choice('override', ['lifetime', 'all', undefined], undefined),
    heuristic: read.fraction('heuristic', preset.heuristic),
  }
}

function resolveTtl(read: OptionReader): number | ReadonlyMap<number, number> | undefined {
  const ttl = read.durationOrMap('ttl')
  if (ttl === undefined || typeof ttl === 'number') return ttl === undefined ? undefined : endless(ttl)
  return new Map([...ttl].map(([status, ms]) => [status, endless(ms)]))
}

/** 0 is "until evicted". */
function endless(ms: number): number {
  return ms <= 0 ? Infinity : ms
}

function resolveStorage(read: OptionReader, preset: Preset) {
  return {
    statuses: read.statuses('statuses', preset.statuses),
    maxBodyBytes: read.bytes('maxBodyBytes', preset.maxBodyBytes),
    maxHeaderBytes: read.bytes('maxHeaderBytes', preset.maxHeaderBytes),
    setCookie: read.choice('setCookie', ['refuse', 'strip', 'store'], preset.setCookie),
    ...read.unkeyedReads('unkeyedReads', preset.unkeyedReads),
    encoded: read.choice('encoded', ['vary', 'store'], preset.encoded),
  }
}

/** `per` alone already makes entries personal; `private: false` beside it says that the principal is not a person. */
function resolveSharing(options: HttpOptions, read: OptionReader, preset: Preset) {
  const hasPrincipal = options.per !== undefined
  const isPrivate = read.flag('private', hasPrincipal)
  const personal = hasPrincipal && isPrivate
  return {
    hasPrincipal,
    private: isPrivate,
    personal,
    unsafeShared: read.flag('unsafeShared', false),
    auth: read.choice('auth', ['bypass', 'keyed', 'shared'], personal ? 'keyed' : preset.auth),
    clientDirectives: read.choice('clientDirectives', ['honour', 'ignore'], preset.clientDirectives),
  }
}

function resolveFields(read: OptionReader, preset: Preset) {
  const rules = read.varyRules('vary')
  return {
    vary: [...rules.keys()].sort(),
    varyRules: new Map([...rules].map(([name, rule]) => [name, normaliser(name, rule)])),
    targets: read.names('targets', preset.targets),
    cacheStatus: read.cacheStatus('cacheStatus', preset.cacheStatus),
    freshnessHeaders: read.choice('freshnessHeaders', ['auto', 'age', 'countdown'], preset.freshnessHeaders),
  }
}

function resolveSwitches(read: OptionReader, preset: Preset) {
  return {
    etag: read.flag('etag', preset.etag),
    statusHeader: read.flag('statusHeader', preset.statusHeader),
    revalidate: read.flag('revalidate', preset.revalidate),
    validateOtherVariants: read.flag('validateOtherVariants', preset.validateOtherVariants),
    forwardConditionals: read.flag('forwardConditionals', preset.forwardConditionals),
    partial: read.flag('partial', preset.partial),
    headUpdate: read.flag('headUpdate', preset.headUpdate),
    postContentLocation: read.flag('postContentLocation', preset.postContentLocation),
    autoInvalidate: read.flag('autoInvalidate', preset.autoInvalidate),
    invalidateLocations: read.flag('invalidateLocations', preset.invalidateLocations),
    groupInvalidation: read.flag('groupInvalidation', preset.groupInvalidation),
    invalidateSharedGroups: read.flag('invalidateSharedGroups', preset.invalidateSharedGroups),
    emitCacheGroups: read.flag('emitCacheGroups', preset.emitCacheGroups),
    host: read.flag('host', preset.host),
    collapse: read.flag('collapse', preset.collapse),
  }
}
