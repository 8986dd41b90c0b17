import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { channels } from '../../src/telemetry/events.js'
import { METRIC, otel } from '../../src/telemetry/otel/index.js'
import { Recorder } from '../../src/telemetry/recorder.js'
import { freePort } from '../support/redis-server.js'

const FOLDER = fileURLToPath(new URL('../../examples/observability/', import.meta.url))

/** Metric to the labels it has. */
type Emitted = Map<string, Set<string>>

/** One lookup of every kind and one event on every channel, through the exporter whose names dashboards see. */
async function emitAll(): Promise<string> {
  const exporter = new PrometheusExporter({ preventServerStart: true })
  const meterProvider = new MeterProvider({ readers: [exporter] })
  const on = otel({ spans: false, meterProvider })
  for (const kind of ['route', 'namespace'] as const) publishAll({ kind, name: 'x' })
  channels.breaker.publish({ at: 0, server: 's', state: 'open', previous: 'closed' })
  channels.connection.publish({ at: 0, server: 's', status: 'ready', previous: 'unavailable' })
  channels.retry.publish({ at: 0, prefix: 'p', result: 'failed', pending: 1 })
  channels.near.publish({ at: 0, prefix: 'p', trusted: true })
  const text = await new Promise<string>((resolve) => {
    const response = { setHeader: () => {}, end: resolve } as unknown as ServerResponse
    exporter.getMetricsRequestHandler({} as IncomingMessage, response)
  })
  on.stop()
  await meterProvider.shutdown()
  return text
}

function publishAll(origin: { kind: 'route' | 'namespace'; name: string }): void {
  const common = { origin, at: 0, durationMs: 1, key: 'k', groups: ['g'] }
  const recorder = new Recorder(origin, () => 0)
  recorder.start('get').found({ outcome: 'hit', reason: 'collapsed', bytes: 1 })
  recorder.start('get').found({ outcome: 'stale', reason: 'stale-while-revalidate', bytes: 1 })
  recorder.start('get').found({ outcome: 'miss', reason: 'outage' })
  channels.store.publish({ ...common, write: 'fill', result: 'stored', ttlMs: 1, bytes: 1 })
  channels.eviction.publish({ ...common, operation: 'evict', keys: ['k'], mode: 'hard', confirmed: true, entries: 1 })
  channels.refusal.publish({ origin, at: 0, reason: 'status' })
  channels.wait.publish({ origin, at: 0, holder: 'process', end: 'stored', durationMs: 1 })
  channels.refresh.publish({ origin, at: 0, reason: 'stale' })
  channels.fence.publish({ origin, at: 0, write: 'fill', key: 'k' })
  channels.staleIfError.publish({ origin, at: 0 })
  channels.session.publish({ at: 0, operation: 'load', outcome: 'loaded', durationMs: 1 })
  channels.rateLimit.publish({ at: 0, scope: origin.name, outcome: 'allowed', limit: 1, durationMs: 1 })
}

function read(text: string): Emitted {
  const emitted: Emitted = new Map()
  for (const line of text.split('\n')) {
    const [, name = '', labels = ''] = /^(redwell_\w+)\{(.*)\} /.exec(line) ?? []
    if (name === '') continue
    const known = emitted.get(name) ?? new Set()
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label)
    emitted.set(name, known)
  }
  return emitted
}

/** The queries of both files, with where they stand. */
function queries(): readonly (readonly [where: string, expr: string])[] {
  const dashboard = JSON.parse(readFileSync(`${FOLDER}dashboard.json`, 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[]
  }
  const panels = dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => [`panel ${title}`, expr] as const),
  )
  const rules = readFileSync(`${FOLDER}alerts.yml`, 'utf8')
    .split(/^ +- alert: /m)
    .slice(1)
  const alerts = rules.map((rule) => {
    const [, expr = ''] = /expr: (?:>-\s)?([\s\S]*?)\n +(?:for|labels):/.exec(rule) ?? []
    return [`alert ${rule.slice(0, rule.indexOf('\n'))}`, expr.replaceAll(/\s+/g, ' ')] as const
  })
  return [...panels, ...alerts]
}

/** Names that a query asks for, with the labels it names beside each. */
function* selectors(expr: string): Generator<readonly [name: RegExp, labels: readonly string[]]> {
  const labelsOf = (text = ''): string[] =>
    [...text.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label]) => label ?? '')
  for (const [, pattern = '', rest] of expr.matchAll(/\{__name__=~"([^"]+)"([^}]*)\}/g))
    yield [new RegExp(`^${pattern}$`), labelsOf(rest)]
  const plain = expr.replaceAll(/\{__name__[^}]*\}/g, '')
  for (const [, name = '', labels] of plain.matchAll(/(redwell_\w+)(?:\{([^}]*)\})?/g))
    yield [new RegExp(`^${name}$`), labelsOf(labels)]
}

/** Labels that are not ours: Prometheus adds them. */
const ADDED = new Set(['instance', 'job', 'le'])

describe('dashboard and alerts', () => {
  let emitted: Emitted
  beforeAll(async () => {
    emitted = read(await emitAll())
  })

  test('every metric of the table is emitted', () => {
    const names = new Set([...emitted.keys()].map((name) => name.replace(/_(?:total|bucket|sum|count)$/, '')))
    expect([...names].toSorted()).toEqual(
      Object.values(METRIC)
        .map((name) => name.replaceAll('.', '_'))
        .toSorted(),
    )
  })

  test.each(queries())('%s asks for what there is', (_, expr) => {
    const asked = [...selectors(expr)]
    expect(asked.length).toBeGreaterThan(0)
    for (const [name, labels] of asked) {
      const found = [...emitted].find(([one]) => name.test(one))
      expect([name.source, found?.[0]]).not.toContain(undefined)
      expect(labels.filter((label) => !ADDED.has(label) && !found?.[1].has(label))).toEqual([])
    }
    const grouped = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = '']) =>
      list.split(',').map((one) => one.trim()),
    )
    const all = new Set([...emitted.values()].flatMap((labels) => [...labels]))
    expect(grouped.filter((label) => !ADDED.has(label) && !all.has(label))).toEqual([])
    expect(expr.split('(')).toHaveLength(expr.split(')').length)
    expect(expr.split('{')).toHaveLength(expr.split('}').length)
  })

  test('every metric has a panel', () => {
    const asked = queries()
      .filter(([where]) => where.startsWith('panel'))
      .flatMap(([, expr]) => [...selectors(expr)])
    const shown = (name: string): boolean => asked.some(([selector]) => selector.test(name))
    expect([...emitted.keys()].filter((name) => !/_(?:sum|count)$/.test(name) && !shown(name))).toEqual([])
  })

  test('every alert stands in the documentation', () => {
    const docs = readFileSync(new URL('../../docs/telemetry.md', import.meta.url), 'utf8')
    const alerts = queries()
      .filter(([where]) => where.startsWith('alert'))
      .map(([where]) => where.slice('alert '.length))
    expect(alerts.length).toBeGreaterThan(5)
    expect(alerts.filter((name) => !docs.includes(`\`${name}\``))).toEqual([])
  })
})

test('the application serves its metrics, and they are those of the dashboard', { timeout: 60_000 }, async () => {
  const [port, metricsPort] = [await freePort(), await freePort()]
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('REDIS_')))
  const child = spawn(process.execPath, ['--import', 'tsx', `${FOLDER}server.ts`, '--traffic'], {
    env: { ...env, TSX_TSCONFIG_PATH: `${FOLDER}tsconfig.json`, PORT: String(port), METRICS_PORT: String(metricsPort) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  try {
    await new Promise<void>((resolve, reject) => {
      createInterface(child.stdout).on('line', (line) => line.startsWith('metrics') && resolve())
      child.once('exit', () => reject(new Error('the example ended')))
    })
    const scrape = async () => (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
    await vi.waitFor(
      async () => expect(await scrape()).toMatch(/redwell_cache_requests_total\{[^}]*cache_outcome="hit"/),
      {
        timeout: 30_000,
      },
    )
    const all = read(await emitAll())
    for (const [name, labels] of read(await scrape())) {
      expect([...all.keys()]).toContain(name)
      expect([...labels].filter((label) => !all.get(name)?.has(label))).toEqual([])
    }
    const stats = (await (await fetch(`http://127.0.0.1:${port}/cache-stats`)).json()) as { routes: object }
    expect(Object.keys(stats.routes)).toContain('GET /products/:id')
  } finally {
    child.kill('SIGTERM')
  }
  expect(await exited).toBe(0)
})
