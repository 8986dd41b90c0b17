import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { context, metrics, trace } from '@opentelemetry/api'
import { type ReadableSpan, BasicTracerProvider, type SpanProcessor } from '@opentelemetry/sdk-trace-base'
import Fastify from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import redwell from '../../src/adapters/fastify/index.js'
import { OptionsError } from '../../src/index.js'
import { otel, type OtelOptions } from '../../src/telemetry/otel/index.js'
import { recordingLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

const run = promisify(execFile)

interface Told {
  readonly statuses: number[]
  readonly warned: string[]
  readonly emitted: string[]
  readonly uncaught: string[]
  readonly asked: string[]
}

async function alone(...args: string[]): Promise<Told> {
  const script = new URL('alone.ts', import.meta.url).pathname
  const { stdout } = await run(process.execPath, ['--import', 'tsx', script, ...args])
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Told
}

describe('in a process of its own', () => {
  let server: Awaited<ReturnType<typeof sharedRedis>>
  beforeAll(async () => {
    server = await sharedRedis()
  })
  afterAll(() => server.close())

  test('without the setting nothing of OpenTelemetry is loaded', async () => {
    const { statuses, warned, asked } = await alone('off', server.url)
    expect([statuses, warned, asked]).toEqual([[200, 200, 200], [], []])
    expect((await alone('no-api', server.url)).asked).not.toEqual([])
  })

  test('OpenTelemetry is not installed: one warning where it is asked for, and requests unharmed', async () => {
    const { statuses, warned, emitted } = await alone('no-api', server.url)
    expect(statuses).toEqual([200, 200, 200])
    const missing = 'redwell: OpenTelemetry is enabled, but @opentelemetry/api is not installed: nothing is reported.'
    expect(warned).toEqual([
      'redwell: the metrics of the Redis driver could not be enabled: @opentelemetry/api not found',
      missing,
    ])
    expect(emitted.filter((message) => message.startsWith('redwell'))).toEqual([missing])
  })

  test('a plain subscriber that throws is an uncaught exception of the process, which requests survive', async () => {
    const { statuses, uncaught } = await alone('raw-listener')
    expect(statuses).toEqual([200, 200, 200])
    expect(uncaught).toEqual(['raw listener', 'raw listener', 'raw listener'])
  })
})

describe('an SDK that fails', () => {
  const warnings: string[] = []
  const note = ({ message, name }: Error): void => void (name === 'Warning' && warnings.push(message))

  beforeEach(() => {
    warnings.length = 0
    process.on('warning', note)
  })

  afterEach(() => {
    process.off('warning', note)
    trace.disable()
    metrics.disable()
    context.disable()
  })

  const fail = (): never => {
    throw new Error('the exporter is broken')
  }
  const idle = { forceFlush: async () => {}, shutdown: async () => {} }
  const processor = (broken: Partial<SpanProcessor>): SpanProcessor => ({
    ...{ onStart: () => {}, onEnd: (_: ReadableSpan) => {} },
    ...idle,
    ...broken,
  })
  const provider = (broken: Partial<SpanProcessor>): OtelOptions => ({
    metrics: false,
    tracerProvider: new BasicTracerProvider({ spanProcessors: [processor(broken)] }),
  })
  const brokenMeter = { getMeter: fail }

  test.each([
    ['at the start of a span', 'spans', provider({ onStart: fail })],
    ['at the end of a span', 'spans', provider({ onEnd: fail })],
    ['when metrics are made', 'metrics', { spans: false, meterProvider: brokenMeter }],
  ])('%s: one warning, and requests unharmed', async (_, what, options) => {
    const on = otel(options)
    const app = Fastify()
    await app.register(redwell, { url: 'memory:', logger: recordingLogger() })
    app.get('/a', { config: { cache: { ttl: '1m' } } }, async () => 'a')
    const caches: unknown[] = []
    for (let n = 0; n < 3; n += 1) caches.push((await app.inject('/a')).headers['x-redis-cache'])
    await app.close()
    on.stop()
    await new Promise((resolve) => setImmediate(resolve))
    expect(caches).toEqual(['MISS', 'HIT', 'HIT'])
    expect(warnings).toEqual([
      `redwell: OpenTelemetry ${what} failed; requests continue without them. the exporter is broken`,
    ])
  })
})

test('wrong options are refused, all of them at once', () => {
  const wrong = { spans: 'yes', tracerProvider: {}, colour: true } as unknown as OtelOptions
  expect(() => otel(wrong)).toThrow(OptionsError)
  expect(() => otel(wrong)).toThrow(
    'Invalid options of otel:\n  - spans: must be true or false\n  - tracerProvider: must have getTracer()\n  - colour: there is no such option',
  )
})
