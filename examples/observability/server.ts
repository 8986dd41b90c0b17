import { parseArgs } from 'node:util'
import { buildApp } from './app.js'
import { startMetrics } from './telemetry.js'
import { visit } from './traffic.js'

const USAGE = `A cached shop with its metrics on an endpoint for Prometheus.

  node --import tsx examples/observability/server.ts              serve
  node --import tsx examples/observability/server.ts --traffic    and visit it, so that the graphs have something to show

  HOST, PORT     where to listen (127.0.0.1, 3000)
  METRICS_PORT   where Prometheus finds /metrics (9464)
  REDIS_URL      a Redis server, such as redis://127.0.0.1:6379 (memory:, the embedded store)
`

const { values } = parseArgs({ options: { traffic: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } })
if (values.help === true) {
  process.stdout.write(USAGE)
  process.exit()
}

const { HOST: host = '127.0.0.1', PORT: port = '3000', METRICS_PORT: metricsPort = '9464' } = process.env
const provider = await startMetrics(host, Number(metricsPort))
const app = await buildApp({ url: process.env['REDIS_URL'] || 'memory:' })
const origin = await app.listen({ host, port: Number(port) })
process.stdout.write(`shop     ${origin}/products/1\nmetrics  http://${host}:${metricsPort}/metrics\n`)

const ended = new AbortController()
const visitor = values.traffic === true ? visit(origin, ended.signal) : undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    ended.abort()
    void Promise.resolve(visitor)
      .then(() => app.close())
      .then(() => provider.shutdown())
  })
}
