import { describe, test } from 'vitest'
import { onIoRedis } from '../support/ioredis.js'
import { FAULTS, type Fault } from './faults.js'
import { underFault } from './under-fault.js'

/** This driver asks a server itself whether it loads its data, and is not connected until it does not. */
const ON_IOREDIS = FAULTS.map((fault): Fault =>
  /LOADING/.test(fault.name) ? { ...fault, says: /is unavailable/ } : fault,
)

describe.concurrent('on ioredis: under each fault no request fails, no answer is old, and the cache comes back', () => {
  test.for(ON_IOREDIS.map((fault) => [fault.name, fault] as const))('%s', { timeout: 60_000 }, ([, fault], context) =>
    underFault(fault, context, onIoRedis),
  )
})
