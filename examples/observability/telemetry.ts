import { metrics } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'

/** Metrics for Prometheus to fetch. Registered before anything is measured; traces would be registered here as well. */
export async function startMetrics(host: string, port: number): Promise<MeterProvider> {
  const exporter = new PrometheusExporter({ host, port, preventServerStart: true })
  const provider = new MeterProvider({ readers: [exporter] })
  metrics.setGlobalMeterProvider(provider)
  await exporter.startServer()
  return provider
}
