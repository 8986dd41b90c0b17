import type { MeterProvider, TracerProvider } from '@opentelemetry/api'
import { createRequire } from 'node:module'
import { OptionsError } from '../../errors.js'
import { setTracer } from '../recorder.js'
import { Instruments, Metrics } from './metrics.js'
import type { Api } from './names.js'
import { limitSpans, spanTracer } from './spans.js'

export interface OtelOptions {
  /** Create spans. Default true. */
  readonly spans?: boolean | undefined
  /** Record metrics. Default true. */
  readonly metrics?: boolean | undefined
  /** Group names as an attribute of spans (not of metrics). Default false: names may come from requests. */
  readonly groups?: boolean | undefined
  /** Keys as an attribute of spans (not of metrics). Default false: they contain paths; a principal in them is a digest. */
  readonly keys?: boolean | undefined
  /** Default: the registered one, even if it is registered later. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Default: the registered one, even if it is registered later. */
  readonly meterProvider?: MeterProvider | undefined
}

/** The handle of a caller that switched telemetry on. */
export interface Otel extends Disposable {
  /** Switches telemetry off once every caller of `otel` has stopped. */
  stop(): void
}

interface Running {
  readonly metrics: Metrics | undefined
  users: number
}

type Warn = (message: string) => void

let running: Running | undefined

/** The metrics that count, or that counted last. */
let latest: Metrics | undefined

/**
 * Switches OpenTelemetry on for every cache of this process, over the providers that the application registers. A second
 * call replaces the options if it has any, and changes nothing else. Without `@opentelemetry/api` it warns once and does
 * nothing.
 *
 * @example
 * import { otel } from 'redwell/otel'
 * otel({ groups: true })
 */
export function otel(options?: OtelOptions): Otel {
  if (options !== undefined) check(options)
  return start(options, emitWarning)
}

/** For the setting `otel`, whose warnings go to the application's logger. */
export function otelFromSettings(warn: Warn): Otel {
  return start(undefined, warn)
}

function start(options: OtelOptions | undefined, warn: Warn): Otel {
  const users = running?.users ?? 0
  if (running === undefined || options !== undefined) running = run(options ?? {}, warn)
  if (running === undefined) return handle(() => {})
  running.users = users + 1
  return handle(leave)
}

function run(options: OtelOptions, warn: Warn): Running | undefined {
  const api = loadApi()
  if (api === undefined) {
    warn('redwell: OpenTelemetry is switched on, but @opentelemetry/api is not installed: nothing is reported.')
    return undefined
  }
  const { spans = true, metrics = true, groups = false, keys = false, tracerProvider, meterProvider } = options
  const spansFailed = once(warn, 'redwell: OpenTelemetry spans failed; requests continue without them.')
  const metricsFailed = once(warn, 'redwell: OpenTelemetry metrics failed; requests continue without them.')
  setTracer(spans ? spanTracer(api, { groups, keys, tracerProvider }, spansFailed) : undefined)
  stopLimitSpans()
  stopLimitSpans = spans ? limitSpans(api, tracerProvider, spansFailed) : () => {}
  latest?.close()
  latest = metrics ? new Metrics(new Instruments(api, meterProvider), metricsFailed) : undefined
  return { metrics: latest, users: 0 }
}

/** Spans of rate limits come from their events. */
let stopLimitSpans = (): void => {}

function leave(): void {
  if (running === undefined) return
  running.users -= 1
  if (running.users > 0) return
  running.metrics?.stop()
  setTracer(undefined)
  stopLimitSpans()
  running = undefined
}

function handle(leaving: () => void): Otel {
  let left = false
  const stop = (): void => {
    if (left) return
    left = true
    leaving()
  }
  return { stop, [Symbol.dispose]: stop }
}

const CHECKS: Readonly<Record<keyof OtelOptions, (value: unknown) => string | undefined>> = {
  spans: checkSwitch,
  metrics: checkSwitch,
  groups: checkSwitch,
  keys: checkSwitch,
  tracerProvider: (value) => checkProvider(value, 'getTracer'),
  meterProvider: (value) => checkProvider(value, 'getMeter'),
}

function checkSwitch(value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'must be true or false'
}

function checkProvider(value: unknown, method: string): string | undefined {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, method) : undefined
  return typeof found === 'function' ? undefined : `must have ${method}()`
}

function check(options: OtelOptions): void {
  if (typeof options !== 'object' || options === null) throw new OptionsError('options of otel', ['must be an object'])
  const checks = new Map(Object.entries(CHECKS))
  const problems = Object.entries(options).flatMap(([name, value]) => {
    const checkOne = checks.get(name) ?? (() => 'there is no such option')
    const problem = value === undefined ? undefined : checkOne(value)
    return problem === undefined ? [] : [`${name}: ${problem}`]
  })
  if (problems.length > 0) throw new OptionsError('options of otel', problems)
}

/** `@opentelemetry/api`, or undefined where it is not installed: an application starts without its telemetry. */
function loadApi(): Api | undefined {
  try {
    return createRequire(import.meta.url)('@opentelemetry/api') as Api
  } catch {
    return undefined
  }
}

/** Warns of the first error only. */
function once(warn: Warn, message: string): (error: unknown) => void {
  let warned = false
  return (error) => {
    if (warned) return
    warned = true
    warn(`${message} ${describeError(error)}`)
  }
}

/** Not `String(error)`, which calls code of whatever was thrown. */
function describeError(error: unknown): string {
  if (error instanceof Error) return error.message
  return typeof error === 'string' ? error : typeof error
}

function emitWarning(message: string): void {
  process.emitWarning(message, { code: 'REDWELL_OTEL' })
}
