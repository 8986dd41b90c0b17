import { describe, test } from 'vitest'
import { FAULTS } from './faults.js'
import { underFault } from './under-fault.js'

describe.concurrent('under each fault no request fails, no answer is old, and the cache comes back', () => {
  test.for(FAULTS.map((fault) => [fault.name, fault] as const))('%s', { timeout: 60_000 }, ([, fault], context) =>
    underFault(fault, context),
  )
})
