// A process of its own: an application with telemetry on, under a fault that a test cannot make in its own process.
// Arguments: the fault, the URL of Redis. Prints what happened as JSON.
import { subscribe } from 'node:diagnostics_channel'
import Module from 'node:module'
import Fastify from 'fastify'

const [, , fault, url = 'memory:'] = process.argv

/** Node's own name of what turns a specifier into a file. */
const RESOLVE = '_resolveFilename'

type Resolver = Record<typeof RESOLVE, (id: string, ...rest: unknown[]) => string>

/** Modules of OpenTelemetry that were asked for. */
const asked: string[] = []

/** As if OpenTelemetry were not installed. */
function hideApi(): void {
  const resolver = Module as unknown as Resolver
  const resolve = resolver[RESOLVE].bind(resolver)
  resolver[RESOLVE] = (id, ...rest) => {
    if (!id.startsWith('@opentelemetry/')) return resolve(id, ...rest)
    asked.push(id)
    throw Object.assign(new Error(`Cannot find module '${id}'`), { code: 'MODULE_NOT_FOUND' })
  }
}

const isOn = fault !== 'off'
if (fault === 'no-api' || !isOn) hideApi()
const uncaught: string[] = []
process.on('uncaughtException', (error) => void uncaught.push(error.message))
const emitted: string[] = []
process.on('warning', ({ message }) => void emitted.push(message))

const { default: redwell } = await import('../../src/adapters/fastify/index.js')
if (fault === 'raw-listener') {
  subscribe('redwell:lookup', () => {
    throw new Error('raw listener')
  })
}
const warned: string[] = []
const logger = { info: () => {}, warn: (message: string) => void warned.push(message), error: () => {} }
const app = Fastify()
await app.register(redwell, {
  ...{ url, logger, connect: true, commandTimeout: 5 },
  ...(isOn && { otel: true, otelRedis: true }),
})
if (isOn) {
  const { otel } = await import('../../src/telemetry/otel/index.js')
  otel()
}
app.get('/a', { config: { cache: { ttl: '1m' } } }, async () => 'a')
const statuses: number[] = []
for (let n = 0; n < 3; n += 1) statuses.push((await app.inject('/a')).statusCode)
await app.close()
await new Promise((resolve) => setImmediate(resolve))
console.log(JSON.stringify({ statuses, warned, emitted, uncaught, asked }))
