import { type Environment, environmentReaders } from './environment.js'
import { checkTypes, SETTINGS } from './setting-types.js'
import {
  type ClusterOptions,
  type RedisSettings,
  type SentinelOptions,
  type TlsOptions,
  withoutUndefined,
} from './settings.js'

/** The settings that code and the environment give, code first. Problems are about types and names alone. */
export function givenSettings(
  given: RedisSettings,
  env: Environment,
  problems: string[],
  asked: Set<string>,
): GivenSettings {
  return merge(checkTypes(given, problems), readEnvironment(env, problems, asked))
}

/**
 * What the `REDIS_*` variables set. TLS files and sentinels count only where TLS and Sentinel are switched on. An empty
 * variable counts as one that is not set.
 */
function readEnvironment(env: Environment, problems: string[], asked: Set<string>) {
  const { text, number, duration, flag } = environmentReaders(env, problems, asked)
  const others = { function: text, object: text, switch: text, options: text }
  const readers = { string: text, number, duration, boolean: flag, ...others }
  const read = Object.entries(SETTINGS).flatMap(([name, [kind, variable]]) =>
    variable === undefined ? [] : [[name, readers[kind](variable)]],
  )
  const settings: Omit<RedisSettings, 'tls' | 'sentinel'> = Object.fromEntries(read)
  return {
    settings,
    cluster: flag('REDIS_CLUSTER'),
    tlsOn: flag('REDIS_SSL'),
    tls: {
      cert: text('REDIS_SSL_CERTFILE'),
      key: text('REDIS_SSL_KEYFILE'),
      ca: text('REDIS_SSL_CA_CERTS'),
      checkHostname: flag('REDIS_SSL_CHECK_HOSTNAME'),
    },
    sentinelOn: flag('REDIS_SENTINEL'),
    sentinel: {
      nodes: text('REDIS_SENTINEL_NODES'),
      masterName: text('REDIS_SENTINEL_MASTER_NAME'),
      username: text('REDIS_SENTINEL_USERNAME'),
      password: text('REDIS_SENTINEL_PASSWORD'),
    },
  }
}

/** Settings of code and environment. `tls` and `sentinel` are there only where they are on. */
export interface GivenSettings extends Omit<RedisSettings, 'tls' | 'sentinel' | 'cluster'> {
  readonly tls: TlsOptions | undefined
  /** The environment's TLS files, for a URL that switches TLS on. */
  readonly tlsFiles: TlsOptions
  readonly sentinel: SentinelOptions | undefined
  readonly cluster: boolean
  readonly clusterNodes: ClusterOptions['nodes'] | undefined
  /** What a problem calls a setting: its variable where its value came from there. */
  readonly nameOf: (name: keyof RedisSettings) => string
}

/** A URL in code also outranks the address fields of the environment, and an address in code the environment's URL. */
function merge(given: RedisSettings, env: ReturnType<typeof readEnvironment>): GivenSettings {
  const { tls, sentinel, cluster, ...code } = withoutUndefined(given)
  const clusterNodes = typeof cluster === 'object' ? cluster.nodes : undefined
  const address = code.client ?? code.host ?? code.port ?? clusterNodes
  const base = code.url === undefined && address !== undefined ? { ...env.settings, url: undefined } : env.settings
  return {
    ...base,
    ...code,
    tls: either(tls, env.tlsOn, env.tls),
    tlsFiles: env.tls,
    sentinel: either(sentinel, env.sentinelOn, env.sentinel),
    cluster: cluster === undefined ? env.cluster === true : cluster !== false,
    clusterNodes,
    nameOf: (name) => (given[name] === undefined ? (SETTINGS[name][1] ?? name) : name),
  }
}

/** Options that code or the environment switches on; those that code leaves out are the environment's. */
function either<T extends object>(code: boolean | T | undefined, on: boolean | undefined, env: T): T | undefined {
  if (typeof code === 'object') return { ...env, ...withoutUndefined(code) }
  return (code ?? on) === true ? env : undefined
}
