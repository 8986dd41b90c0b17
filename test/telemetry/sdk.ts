import { createRequire } from 'node:module'
import { type Attributes, context, metrics, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'

/** The real SDK, registered as an application would, with what it exports kept in memory. */
export class Sdk {
  readonly #spans = new InMemorySpanExporter()
  #meters = new Meters()

  constructor() {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(this.#spans)] }))
  }

  /** From here on as if nothing had been: the SDK goes on telling the last value of every series it has seen. */
  async reset(): Promise<void> {
    this.#spans.reset()
    metrics.disable()
    await this.#meters.provider.shutdown()
    this.#meters = new Meters()
    metrics.setGlobalMeterProvider(this.#meters.provider)
  }

  forgetSpans(): void {
    this.#spans.reset()
  }

  get spans(): ReadableSpan[] {
    return this.#spans.getFinishedSpans()
  }

  named(name: string): ReadableSpan[] {
    return this.spans.filter((span) => span.name === name)
  }

  /** All points of a metric as they are now. */
  async points(metric: string): Promise<Point[]> {
    return (await this.metrics()).get(metric) ?? []
  }

  async metrics(): Promise<Map<string, Point[]>> {
    const { exporter, provider } = this.#meters
    exporter.reset()
    await provider.forceFlush()
    const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics)
    const found = all.flatMap((scope) => scope.metrics)
    return new Map(found.map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints as Point[]]))
  }

  async shutdown(): Promise<void> {
    await this.#meters.provider.shutdown()
    trace.disable()
    metrics.disable()
    context.disable()
  }
}

class Meters {
  readonly exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  readonly provider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter: this.exporter, exportIntervalMillis: 3_600_000 })],
  })
}

export interface Point {
  readonly attributes: Attributes
  readonly value: unknown
}

export function isError({ status }: ReadableSpan): boolean {
  return status.code === SpanStatusCode.ERROR
}

export function parentOf(span: ReadableSpan, spans: readonly ReadableSpan[]): ReadableSpan | undefined {
  return spans.find((one) => one.spanContext().spanId === span.parentSpanContext?.spanId)
}

/** The HTTP instrumentation patches `http` when it is next required. */
export function requireHttp(): void {
  createRequire(import.meta.url)('http')
}
