import { describe, test } from 'vitest'
import { onIoRedis } from '../support/ioredis.js'
import { FAULTS, type Fault } from './faults.js'
import { underFault } from './under-fault.js'

/**
 * What the operator reads where this driver is sooner than the cache: it asks a server itself whether it loads its data,
 * and its `socketTimeout` may end a connection that hangs before three deadlines have passed.
 */
const SAYS: readonly (readonly [fault: RegExp, says: RegExp])[] = [
  [/LOADING/, /is unavailable/],
  [/SIGSTOP|late|half-open/, /does not answer in time|is unavailable/],
]

const ON_IOREDIS = FAULTS.map((fault): Fault => {
  const says = SAYS.find(([name]) => name.test(fault.name))?.[1] ?? fault.says
  return says === undefined ? fault : { ...fault, says }
})

describe.concurrent('on ioredis: under each fault no request fails, no answer is old, and the cache comes back', () => {
  test.for(ON_IOREDIS.map((fault) => [fault.name, fault] as const))('%s', { timeout: 60_000 }, ([, fault], context) =>
    underFault(fault, context, onIoRedis),
  )
})
