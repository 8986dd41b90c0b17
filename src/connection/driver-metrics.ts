import { driver } from './driver.js'

let observed = false

/**
 * Switches on the driver's own OpenTelemetry metrics (`db.client.*`, `redis.client.*`), which it can do once in a
 * process, over the meter provider that is registered at that moment. Channel names stay out of them.
 */
export function observeDriver(warn: (message: string) => void): void {
  if (observed) return
  try {
    driver().OpenTelemetry.init({
      metrics: {
        enabled: true,
        enabledMetricGroups: ['command', 'connection-basic', 'connection-advanced', 'resiliency'],
        hidePubSubChannelNames: true,
      },
    })
    observed = true
  } catch (error) {
    // Without @opentelemetry/api, or where the application has switched it on itself.
    warn(`redwell: the metrics of the Redis driver were not switched on: ${(error as Error).message}`)
  }
}
