import { relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { RedwellError } from 'redwell'
import { buildApp, DEMO_ADMIN_TOKEN } from './app.js'
import type { Database } from './database.js'
import { progressLine } from './progress.js'
import { DataInUseError } from './storage/lock.js'
import { openDatabase } from './storage/open.js'
import { runTour } from './tour.js'
import { whatToTry } from './welcome.js'

const USAGE = `An HTTP API over 135,000 places, cached by redwell.

  npm start              load the data (once), serve, and print what to try
  npm start -- --tour    walk through the cache, and say whether all is as expected

  PORT, HOST     where to listen (3000, 127.0.0.1)
  REDIS_URL      a Redis server, such as redis://127.0.0.1:6379 (memory:, the embedded store)
  REDIS_PREFIX   first part of every key in Redis (places)
  ADMIN_TOKEN    what POST /admin/clear/:group asks for (${DEMO_ADMIN_TOKEN})
  PLACES_DATA    folder of the database (.data/places)
  PLACES_LIMIT   load the largest so many places only
  LOG_LEVEL      fatal, error, warn, info, debug (warn)
`

interface Settings {
  host: string
  port: number
  redisUrl: string
  prefix: string
  adminToken: string
  folder: string
  limit: number | undefined
  logLevel: string
}

/** An empty variable is one that is not set. */
function readSettings(env: NodeJS.ProcessEnv): Settings {
  const text = (name: string, fallback: string): string => env[name]?.trim() || fallback
  return {
    host: text('HOST', '127.0.0.1'),
    port: wholeNumber('PORT', text('PORT', '3000'), 0, 65_535),
    redisUrl: text('REDIS_URL', 'memory:'),
    prefix: text('REDIS_PREFIX', 'places'),
    adminToken: text('ADMIN_TOKEN', DEMO_ADMIN_TOKEN),
    folder: resolve(text('PLACES_DATA', resolve(import.meta.dirname, '../../.data/places'))),
    limit: env['PLACES_LIMIT'] ? wholeNumber('PLACES_LIMIT', env['PLACES_LIMIT'], 1, Infinity) : undefined,
    logLevel: text('LOG_LEVEL', 'warn'),
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const number = Number(text)
  if (Number.isInteger(number) && number >= least && number <= most) return number
  throw new UsageProblem(`${name}=${text} is not a whole number from ${least} to ${most}`)
}

class UsageProblem extends Error {
  override readonly name = 'UsageProblem'
}

async function main(): Promise<void> {
  const { tour, help } = readArguments()
  if (help) return void process.stdout.write(USAGE)
  const settings = readSettings(process.env)
  const onProgress = progressLine(process.stdout, `Loading into ${shortPath(settings.folder)}, once`)
  const db = await openDatabase({ ...settings, onProgress })
  try {
    const app = await makeApp(settings, db, tour)
    await (tour ? take(app, settings) : serve(app, db, settings))
  } finally {
    await db.close()
  }
}

function shortPath(path: string): string {
  const near = relative('', path)
  return near.startsWith('..') ? path : near
}

function readArguments(): { tour: boolean; help: boolean } {
  try {
    const { values } = parseArgs({ options: { tour: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } })
    return { tour: values.tour === true, help: values.help === true }
  } catch (error) {
    throw new UsageProblem((error as Error).message)
  }
}

function makeApp(settings: Settings, db: Database, tour: boolean): Promise<FastifyInstance> {
  const { redisUrl, prefix, adminToken, logLevel } = settings
  // A request does not wait long for its cache. The tour does: it is about what comes, on a busy machine as well.
  const patience = tour ? { commandTimeout: '2s' as const } : {}
  return buildApp({ db, redis: { url: redisUrl, prefix, ...patience }, adminToken, logger: { level: logLevel } })
}

/** Serves until it is asked to stop. */
async function serve(app: FastifyInstance, db: Database, settings: Settings): Promise<void> {
  const stopped = stopSignal()
  try {
    const origin = await listen(app, settings)
    const [[example], count] = await Promise.all([db.search({}, { limit: 1, offset: 0 }), db.count()])
    const { adminToken } = settings
    process.stdout.write(whatToTry({ origin, cache: cacheOf(app), example, count, adminToken }))
    await stopped
  } finally {
    await app.close()
  }
}

async function listen(app: FastifyInstance, { host, port }: Settings): Promise<string> {
  try {
    return await app.listen({ host, port })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw new UsageProblem(`Port ${port} of ${host} is in use. Choose another: PORT=${port + 1} npm start`)
  }
}

function cacheOf({ redis }: FastifyInstance): string {
  const { kind, nodes } = redis.settings
  return kind === 'memory'
    ? 'the embedded store'
    : `Redis at ${nodes.map(({ host, port }) => `${host}:${port}`).join()}`
}

function stopSignal(): Promise<void> {
  return new Promise((stop) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop())
  })
}

/** Ends with an exit code that says whether everything was as expected. */
async function take(app: FastifyInstance, { adminToken }: Settings): Promise<void> {
  try {
    await app.redis.connect()
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    if (!(await runTour({ origin, adminToken, out: process.stdout }))) process.exitCode = 1
  } finally {
    await app.close()
  }
}

try {
  await main()
} catch (error) {
  const explained = [UsageProblem, DataInUseError, RedwellError].some((kind) => error instanceof kind)
  console.error(explained ? (error as Error).message : error)
  process.exitCode = error instanceof UsageProblem ? 2 : 1
}
