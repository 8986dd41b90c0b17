import type { Redis } from '../create-redis.js'
import { messageOf, UnavailableError } from '../errors.js'
import type { Connection } from '../redis/connection.js'
import { isReply } from '../redis/port.js'
import { warningsAbout } from '../redis/server.js'
import type { ResolvedSettings } from '../redis/settings.js'
import type { ProcessReport } from '../report/types.js'
import { healthOf, type RedisHealth, type ServerHealth } from './health.js'
import { type Reports, reportsNow } from './live.js'
import { scanNames } from './pages.js'
import { mayTrack, missingForSessions, missingPermissions } from './permissions.js'

/** - `warning`: works, and should be looked at; `problem`: something does not work */
export type Level = 'ok' | 'warning' | 'problem'

/** One finding. */
export interface Finding {
  readonly level: Level
  /** What was checked. */
  readonly about: string
  /** What was found. */
  readonly found: string
  /** What to do; empty where nothing is to be done. */
  readonly advice: string
}

/** The result of all checks. */
export interface Diagnosis {
  readonly findings: readonly Finding[]
  readonly health: RedisHealth
  readonly processes: readonly ProcessReport[]
  /** Other prefixes of redwell on the same servers, as far as was looked. */
  readonly prefixes: readonly string[]
  /** Settings in force, secrets masked. */
  readonly settings: Readonly<Record<string, unknown>>
}

/** Round trips that are measured. */
const PINGS = 20

/** Part of the command timeout that a usual round trip may take. */
const ROUND_TRIP_PART = 0.2

/** Clocks that differ by more are worth a look, though redwell goes by that of Redis. */
const CLOCK_MS = 1000

/** Part of maxmemory, and of maxclients, from which on a server counts as nearly full. */
const FULL_PART = 0.9

/** A replica that lags more than this may lack invalidations that were confirmed. */
const LAG_SECONDS = 2

export interface DiagnoseOptions {
  readonly onStep?: ((step: string) => void) | undefined
  /** The application's, where those of the handle are others. */
  readonly settings?: ResolvedSettings | undefined
}

/** Runs all checks. Rejects with UnavailableError if Redis cannot be reached. */
export async function diagnose(
  redis: Redis,
  { onStep = () => {}, settings = redis.settings }: DiagnoseOptions = {},
): Promise<Diagnosis> {
  const { connection } = redis
  if (connection === undefined)
    throw new UnavailableError('not-ready', 'The embedded store (memory:) has no server to examine.')
  onStep('servers')
  const health = await healthOf(redis)
  onStep('round trips')
  const latency = await latencyFinding(redis, settings.commandTimeoutMs)
  onStep('permissions')
  const missing = await missingPermissions(connection, settings.prefix)
  const alsoMissing = await missingForSessions(connection, settings.prefix)
  const ofSessions = alsoMissing.filter((rule) => !missing.includes(rule))
  const tracks = await mayTrack(connection)
  onStep('processes')
  const refused = (error: unknown): string => refusalOf(error, connection)
  const [asked, used] = await Promise.all([
    reportsNow(redis).catch(refused),
    // Without SCAN there is no list; the finding about permissions says so.
    usedPrefixes(redis, connection).catch((error: unknown) => {
      refused(error)
      return []
    }),
  ])
  const processes = typeof asked === 'string' ? [] : asked.reports
  const findings = [
    ...connectionFindings(health),
    ...health.servers.flatMap((server) => serverFindings(server, settings)),
    latency,
    clockFinding(health),
    permissionFinding(missing, settings),
    ...(ofSessions.length === 0 ? [] : [sessionPermissionFinding(ofSessions, settings)]),
    trackingFinding(tracks, settings.resp),
    ...(typeof asked === 'string' ? [unaskedFinding(asked)] : processFindings(asked, settings.prefix)),
    ...(processes.length === 0 ? prefixFindings(settings.prefix, used) : []),
  ]
  const prefixes = used.filter((prefix) => prefix !== settings.prefix)
  return { findings, health, processes, prefixes, settings: shownSettings(settings) }
}

function finding(level: Level, about: string, found: string, advice = ''): Finding {
  return { level, about, found, advice }
}

function connectionFindings({ status, topology, servers }: RedisHealth): readonly Finding[] {
  const count = servers.length === 1 ? 'one server' : `${servers.length} primaries`
  if (status === 'ready') return [finding('ok', 'connection', `${topology}, ${count}, all answer`)]
  const away = servers.filter(({ state }) => state !== 'ready')
  return [
    finding('problem', 'connection', `${topology}, ${servers.length - away.length} of ${count} answer`),
    ...away.map(({ where, state, reason }) =>
      finding('problem', where, awayText(state, reason), 'Start this server, or check its log and the network.'),
    ),
  ]
}

function awayText(state: string, reason: string | undefined): string {
  if (reason !== undefined) return `cannot serve now: ${reason}`
  return state === 'unavailable' ? 'not reachable' : 'does not answer in time'
}

function serverFindings(server: ServerHealth, settings: ResolvedSettings): readonly Finding[] {
  const { where, program, version, role, evictionPolicy, maxMemoryBytes, memoryBytes } = server
  if (server.state !== 'ready') return []
  const about = (what: string): string => `${what} of ${where}`
  const warnings = warningsAbout({ version, maxMemory: maxMemoryBytes, evictionPolicy })
  return [
    finding(
      warnings.some((text) => text.includes('version')) ? 'warning' : 'ok',
      about('version'),
      `${program}, ${role}`,
    ),
    memoryFinding(about('memory'), { evictionPolicy, maxMemoryBytes, memoryBytes }),
    ...fullFindings(server, about),
    ...replicaFindings(server, about('replicas'), settings.waitForReplicas),
    ...(server.persistence && settings.trustRestarts
      ? [
          finding(
            'warning',
            about('persistence'),
            'data survives a restart, and trustRestarts is on',
            'Set waitForReplicas, or turn trustRestarts off: a restart may restore entries that were invalidated.',
          ),
        ]
      : []),
  ]
}

type Memory = Pick<ServerHealth, 'evictionPolicy' | 'maxMemoryBytes' | 'memoryBytes'>

function memoryFinding(about: string, { evictionPolicy, maxMemoryBytes, memoryBytes }: Memory): Finding {
  const used = megabytes(memoryBytes)
  if (maxMemoryBytes === 0)
    return finding(
      'warning',
      about,
      `${used} used, no maxmemory`,
      'Set maxmemory and maxmemory-policy allkeys-lru: otherwise entries without a lifetime are never removed.',
    )
  const found = `${used} of ${megabytes(maxMemoryBytes)} used, ${evictionPolicy}`
  // A server that may evict everything is meant to be full.
  const level = memoryBytes > FULL_PART * maxMemoryBytes ? 'problem' : 'warning'
  if (evictionPolicy === 'noeviction')
    return finding(level, about, found, 'Set maxmemory-policy allkeys-lru: a full server stores nothing more.')
  if (evictionPolicy.startsWith('volatile'))
    return finding(
      level,
      about,
      found,
      'Set maxmemory-policy allkeys-lru: entries without a lifetime are never evicted.',
    )
  return finding('ok', about, found)
}

function fullFindings(server: ServerHealth, about: (what: string) => string): readonly Finding[] {
  const { clients, maxClients, fragmentation, memoryBytes } = server
  const found: Finding[] = []
  if (maxClients > 0 && clients > FULL_PART * maxClients)
    found.push(
      finding('problem', about('clients'), `${clients} of ${maxClients}`, 'Raise maxclients, or run fewer processes.'),
    )
  if (fragmentation > 2 && memoryBytes > 100e6)
    found.push(
      finding('warning', about('fragmentation'), String(fragmentation), 'Set activedefrag yes, or restart the server.'),
    )
  return found
}

function replicaFindings({ replicas }: ServerHealth, about: string, wanted: number): readonly Finding[] {
  if (replicas.length < wanted) {
    const advice =
      'Add replicas, or lower waitForReplicas: until then no invalidation is confirmed and nothing is served.'
    return [finding('problem', about, `${replicas.length}, and waitForReplicas is ${wanted}`, advice)]
  }
  if (replicas.length === 0) return []
  const behind = replicas.filter(({ state, lagSeconds }) => state !== 'online' || lagSeconds > LAG_SECONDS)
  const found = replicas
    .map(({ address, state, lagSeconds }) => `${address} ${state}, ${lagSeconds} s behind`)
    .join('; ')
  return [
    behind.length === 0
      ? finding('ok', about, found)
      : finding('warning', about, found, 'Check their logs: a failover would lose what they have not replicated.'),
  ]
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

const SEE_PERMISSIONS = 'See the finding about permissions.'

async function latencyFinding(redis: Redis, limitMs: number): Promise<Finding> {
  const times: number[] = []
  for (let index = 0; index < PINGS; index += 1) {
    const ms = await redis.ping().catch((error: unknown) => (isReply(error) ? error : undefined))
    if (ms instanceof Error)
      return finding('warning', 'round trip', `could not be measured: ${ms.message}`, SEE_PERMISSIONS)
    if (ms !== undefined && ms <= limitMs) times.push(ms)
  }
  const sorted = times.toSorted((one, other) => one - other)
  const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(2)
  const found = `median ${at(0.5)} ms, slowest of ${sorted.length} ${at(1)} ms; a request waits for at most ${limitMs} ms`
  if (sorted.length < PINGS)
    return finding(
      'problem',
      'round trip',
      `${PINGS - sorted.length} of ${PINGS} missed ${limitMs} ms`,
      'See SLOWLOG, the network, and commandTimeout.',
    )
  const slow = (sorted[Math.floor(PINGS / 2)] ?? 0) > ROUND_TRIP_PART * limitMs
  return slow
    ? finding('warning', 'round trip', found, 'Run Redis closer to the application, or raise commandTimeout.')
    : finding('ok', 'round trip', found)
}

function clockFinding({ clockOffsetMs }: RedisHealth): Finding {
  if (clockOffsetMs === null) return finding('warning', 'clock', 'could not be measured', SEE_PERMISSIONS)
  const found = `this machine and Redis differ by ${Math.abs(clockOffsetMs)} ms`
  return Math.abs(clockOffsetMs) > CLOCK_MS
    ? finding('warning', 'clock', found, 'redwell uses the clock of Redis, logs do not. Synchronize both with NTP.')
    : finding('ok', 'clock', found)
}

function permissionFinding(missing: readonly string[], settings: ResolvedSettings): Finding {
  if (missing.length === 0) return finding('ok', 'permissions', 'all commands that redwell sends are allowed')
  return finding('problem', 'permissions', `refused: ${missing.join(', ')}`, ruleFor(missing, settings))
}

/** A user for the cache alone is right without them. */
function sessionPermissionFinding(missing: readonly string[], settings: ResolvedSettings): Finding {
  const advice = `If the application has sessions: ${ruleFor(missing, settings)}`
  return finding('warning', 'permissions of sessions', `refused: ${missing.join(', ')}`, advice)
}

function ruleFor(missing: readonly string[], { username = 'default' }: ResolvedSettings): string {
  return `ACL SETUSER ${username} ${missing.join(' ')}`
}

function trackingFinding(tracks: boolean, resp: number): Finding {
  if (resp === 2) return finding('ok', 'tracking', 'RESP 2: no near caches')
  return tracks
    ? finding('ok', 'tracking', 'allowed')
    : finding('ok', 'tracking', 'not allowed: only near caches need it (+client|tracking)')
}

function processFindings({ reports: processes, unread }: Reports, prefix: string): readonly Finding[] {
  const about = `processes of '${prefix}'`
  if (unread > 0 && processes.length === 0)
    return [unaskedFinding('their reports are on a server that does not answer')]
  if (processes.length === 0)
    return [finding('ok', about, 'none reports', 'Started later than redwell, or with REDIS_OPERATE_ENABLED=false.')]
  const names = [...new Set(processes.map(({ application }) => application))]
  const versions = [...new Set(processes.map(({ version }) => version))]
  const ill = processes.filter(({ status }) => status !== 'ready')
  return [
    unread === 0
      ? finding('ok', about, `${processes.length} of ${names.join(', ')}`)
      : finding('warning', about, `${processes.length} of ${names.join(', ')}; ${unread} more cannot be read now`),
    ...(names.length > 1
      ? [
          finding(
            'warning',
            'applications',
            `${names.join(' and ')} share one prefix`,
            'Give each its own REDIS_PREFIX, unless they serve the same routes.',
          ),
        ]
      : []),
    ...(versions.length > 1
      ? [finding('warning', 'versions', `redwell ${versions.join(' and ')}`, 'Complete the deployment.')]
      : []),
    ...ill.map(({ application, host, pid, status }) =>
      finding(
        'problem',
        `${application} ${host}:${pid}`,
        status,
        'See its log: it serves requests without the cache, or a part of them.',
      ),
    ),
  ]
}

/** Nothing of the application is there, and something of others: the prefix may be mistyped. */
function prefixFindings(prefix: string, used: readonly string[]): readonly Finding[] {
  if (used.length === 0 || used.includes(prefix)) return []
  const found = `nothing is stored under '${prefix}'; in use: ${used.map((name) => `'${name}'`).join(', ')}`
  return [finding('warning', 'prefix', found, 'Check --prefix or REDIS_PREFIX: it must be that of the application.')]
}

/** The server may be full, or the user may lack permissions: other findings say so and must be shown. */
function refusalOf(error: unknown, { isPartial }: Connection): string {
  if (error instanceof UnavailableError && !isPartial) throw error
  return messageOf(error)
}

function unaskedFinding(message: string): Finding {
  const advice = message.includes('NOPERM')
    ? SEE_PERMISSIONS
    : message.startsWith('OOM')
      ? 'The server is full: make room.'
      : ''
  return finding('problem', 'processes', `could not be asked: ${message}`, advice)
}

/** Keys of the server that are looked at for other prefixes. */
const PREFIX_KEYS_MAX = 200_000

/** A prefix that is in use has a clock. */
async function usedPrefixes(redis: Redis, connection: Connection): Promise<readonly string[]> {
  const found = new Set<string>()
  let [cursor, examined]: [string | null, number] = ['0', 0]
  while (cursor !== null && examined < PREFIX_KEYS_MAX) {
    const page = await scanNames(redis, connection, '', { cursor, limit: 1000, suffix: ':clock' })
    for (const name of page.items) found.add(name.slice(0, -':clock'.length))
    examined += page.examined
    cursor = page.cursor
  }
  return [...found].toSorted()
}

/** Secrets are masked by their own type. */
function shownSettings(settings: ResolvedSettings): Readonly<Record<string, unknown>> {
  const { client, credentials, warnings: _, tls, nodes, ...rest } = settings
  // Where sentinels know the master, or a client is given, the addresses of servers are defaults without a meaning.
  const servers = rest.sentinel === undefined && client === undefined ? { nodes } : {}
  const shown: unknown = JSON.parse(JSON.stringify({ ...rest, ...servers, tls: tls !== undefined }))
  return {
    ...(shown as Record<string, unknown>),
    ...(client === undefined ? {} : { client: 'given' }),
    ...(credentials === undefined ? {} : { credentials: 'a function' }),
  }
}
