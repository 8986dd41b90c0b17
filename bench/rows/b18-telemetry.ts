import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, everyItem, fill, SMALL_BYTES } from '../harness/items.js'
import type { Outcome, Row, Subject } from '../harness/row.js'
import { cachedItems } from '../harness/variants.js'

type Where = 'memory' | 'Redis'

const items = (where: Where): Subject => cachedItems(SMALL_BYTES, where === 'memory' ? 'memory:' : undefined)

/** A lookup that nobody follows. */
const UNSEEN = {
  run: (work: () => unknown) => work(),
  follow: (run: () => unknown) => run(),
  part: () => UNSEEN,
  found() {},
  end() {},
  failed() {},
}

/** redwell as it would be if nothing were counted and nobody could listen. */
async function strip(): Promise<void> {
  const { prototype } = await recorderClass()
  Object.assign(prototype, {
    start: () => UNSEEN,
    lookup: (_operation: string, run: () => unknown) => run(),
    store: (_by: string, _what: unknown, run: () => unknown) => run(),
    wait: (_holder: string, waiting: unknown) => waiting,
  })
}

/** The package is bundled, so the class stands in a chunk whose name changes with its text. */
async function recorderClass(): Promise<{ readonly prototype: object }> {
  const chunks = new URL('../../dist/chunks/', import.meta.url)
  for (const name of readdirSync(chunks)) {
    if (
      !name.endsWith('.js') ||
      !/^class Recorder\b|^var Recorder = /m.test(readFileSync(new URL(name, chunks), 'utf8'))
    )
      continue
    const { Recorder } = (await import(new URL(name, chunks).href)) as { Recorder?: { readonly prototype: object } }
    if (Recorder !== undefined) return Recorder
  }
  throw new Error('no chunk of dist exports Recorder: build first, or follow what became of it')
}

/** The SDK as applications set it up, to exporters that take everything and keep nothing. */
async function registerSdk(): Promise<void> {
  const { context, metrics, trace } = await import('@opentelemetry/api')
  const { AsyncLocalStorageContextManager } = await import('@opentelemetry/context-async-hooks')
  const { BasicTracerProvider, BatchSpanProcessor } = await import('@opentelemetry/sdk-trace-base')
  const { AggregationTemporality, MeterProvider, PeriodicExportingMetricReader } =
    await import('@opentelemetry/sdk-metrics')
  const nowhere = {
    export: (_: unknown, done: (result: { code: number }) => void) => done({ code: 0 }),
    forceFlush: async () => {},
    shutdown: async () => {},
    selectAggregationTemporality: () => AggregationTemporality.CUMULATIVE,
  }
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(nowhere)] }))
  const readers = [new PeriodicExportingMetricReader({ exporter: nowhere })]
  metrics.setGlobalMeterProvider(new MeterProvider({ readers }))
}

/** A span for each request, as every traced application has it. */
async function traceHttp(): Promise<void> {
  const { HttpInstrumentation } = await import('@opentelemetry/instrumentation-http')
  new HttpInstrumentation().enable()
  createRequire(import.meta.url)('http')
}

const without =
  (where: Where): Subject =>
  (params) =>
    strip().then(() => items(where)(params))

const withMetrics =
  (where: Where): Subject =>
  async (params) => {
    await registerSdk()
    const { otel } = await import('redwell/otel')
    otel({ spans: false })
    return items(where)(params)
  }

const traced =
  (where: Where, on: boolean): Subject =>
  async (params) => {
    await registerSdk()
    await traceHttp()
    const { otel } = await import('redwell/otel')
    if (on) otel()
    else await strip()
    return items(where)(params)
  }

async function measure(bench: Bench, where: Where): Promise<Outcome[]> {
  const started = async (name: string) => {
    const variant = await bench.start(`${name} ${where}`)
    await fill(bench, variant)
    const handle = await bench.prepare(variant, { requests: everyItem })
    return () => checkedSample(bench, variant, handle, { hits: true })
  }
  const plain = await interleave(bench, {
    without: await started('without'),
    off: await started('off'),
    metrics: await started('metrics'),
  })
  const spans = await interleave(bench, { without: await started('traced'), on: await started('on') })
  const hit = `hit from ${where}, 2 KB`
  const id = 'B18'
  return [
    compared({ id, what: `${hit}, telemetry off, against none`, ours: plain.off, base: plain.without, atLeast: 0.99 }),
    compared({ id, what: `${hit}, metrics on, against none`, ours: plain.metrics, base: plain.without, atLeast: 0.9 }),
    compared({
      ...{ id, what: `${hit}, metrics and spans on, against none, in an application whose requests are traced` },
      ...{ ours: spans.on, base: spans.without, atLeast: 0.9 },
    }),
  ]
}

const subjectsOn = (where: Where): Record<string, Subject> => ({
  [`without ${where}`]: without(where),
  [`off ${where}`]: items(where),
  [`metrics ${where}`]: withMetrics(where),
  [`traced ${where}`]: traced(where, false),
  [`on ${where}`]: traced(where, true),
})

export default {
  id: 'B18',
  subjects: { ...subjectsOn('memory'), ...subjectsOn('Redis') },
  async run(bench: Bench) {
    return [...(await measure(bench, 'memory')), ...(await measure(bench, 'Redis'))]
  },
} satisfies Row
