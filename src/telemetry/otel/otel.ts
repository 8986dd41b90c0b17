import type * as OpenTelemetry from '@opentelemetry/api'
import type { MeterProvider, TracerProvider } from '@opentelemetry/api'
import { createRequire } from 'node:module'
import { OptionsError } from '../../errors.js'
import { setTracer } from '../recorder.js'
import { Instruments, Metrics } from './metrics.js'
import { spanTracer } from './spans.js'

export interface OtelOptions {
  /** Make spans. Default true. */
  readonly spans?: boolean | undefined
  /** Record metrics. Default true. */
  readonly metrics?: boolean | undefined
  /** Names of groups as an attribute of spans (never of metrics). Default false: names may come from requests. */
  readonly groups?: boolean | undefined
  /** Keys as an attribute of spans (never of metrics). Default false: they say who asked for what; a principal in them is a digest. */
  readonly keys?: boolean | undefined
  /** Default: the one that is registered, now or later. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Default: the one that is registered, now or later. */
  readonly meterProvider?: MeterProvider | undefined
}

/** Telemetry that is on. */
export interface Otel extends Disposable {
  /** Ends it, when everybody who switched it on has. */
  stop(): void
}

interface Running {
  readonly metrics: Metrics | undefined
  users: number
}

let running: Running | undefined

/** Those that count, or that have counted last. */
let latest: Metrics | undefined

/**
 * Switches OpenTelemetry on for every cache of this process, over the providers that the application registers. Called
 * once more it changes nothing but the options, where it is given some. Where `@opentelemetry/api` is not installed it
 * warns once, and does nothing.
 *
 * @example
 * import { otel } from 'redwell/otel'
 * otel({ groups: true })
 */
export function otel(options?: OtelOptions): Otel {
  return start(options, new Warnings())
}

/** For the setting `otel`, whose warnings go where the application's go. */
export function otelFromSettings(warn: (message: string) => void): Otel {
  return start(undefined, new Warnings(warn))
}

function start(options: OtelOptions | undefined, warnings: Warnings): Otel {
  if (options !== undefined) check(options)
  const users = running?.users ?? 0
  if (running === undefined || options !== undefined) {
    running = run(options ?? {}, warnings)
  }
  const mine = running
  if (mine === undefined) return handle(() => {})
  mine.users = users + 1
  return handle(leave)
}

function run(options: OtelOptions, warnings: Warnings): Running | undefined {
  const loaded = api()
  if (loaded === undefined) {
    warnings.once(
      'redwell: OpenTelemetry is switched on, but @opentelemetry/api is not installed: nothing is reported.',
    )
    return undefined
  }
  const { spans = true, metrics = true, groups = false, keys = false, tracerProvider, meterProvider } = options
  setTracer(spans ? spanTracer(loaded, { groups, keys, tracerProvider }, warnings) : undefined)
  latest?.close()
  latest = metrics ? new Metrics(new Instruments(loaded, meterProvider), warnings) : undefined
  return { metrics: latest, users: 0 }
}

function leave(): void {
  if (running === undefined) return
  running.users -= 1
  if (running.users > 0) return
  running.metrics?.stop()
  setTracer(undefined)
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

const SWITCHES = ['spans', 'metrics', 'groups', 'keys'] as const

const PROVIDERS = { tracerProvider: 'getTracer', meterProvider: 'getMeter' } as const

function check(options: OtelOptions): void {
  const problems: string[] = []
  if (typeof options !== 'object' || options === null) throw new OptionsError('options of otel', ['must be an object'])
  const given = options as Readonly<Record<string, unknown>>
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    if ((SWITCHES as readonly string[]).includes(name)) {
      if (typeof value !== 'boolean') problems.push(`${name}: must be true or false`)
    } else if (name in PROVIDERS) {
      const method = PROVIDERS[name as keyof typeof PROVIDERS]
      if (typeof (value as Record<string, unknown> | null)?.[method] !== 'function')
        problems.push(`${name}: must have ${method}()`)
    } else problems.push(`${name}: there is no such option`)
  }
  if (problems.length > 0) throw new OptionsError('options of otel', problems)
}

export type Api = typeof OpenTelemetry

let loaded: Api | undefined

/** `@opentelemetry/api`, or undefined where it is not installed: telemetry is no reason for an application not to start. */
export function api(): Api | undefined {
  try {
    loaded ??= createRequire(import.meta.url)('@opentelemetry/api') as Api
  } catch {
    return undefined
  }
  return loaded
}

/** Says each thing once. */
export class Warnings {
  readonly #said = new Set<string>()
  readonly #say: (message: string) => void

  constructor(say: (message: string) => void = emit) {
    this.#say = say
  }

  once(message: string, error?: unknown): void {
    if (this.#said.has(message)) return
    this.#said.add(message)
    this.#say(error === undefined ? message : `${message} ${reasonOf(error)}`)
  }
}

/** What was thrown, in words. */
export function reasonOf(error: unknown): string {
  if (error instanceof Error) return error.message
  return typeof error === 'string' ? error : typeof error
}

function emit(message: string): void {
  process.emitWarning(message, { code: 'REDWELL_OTEL' })
}
