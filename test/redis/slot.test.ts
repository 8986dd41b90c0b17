import { createRequire } from 'node:module'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SLOTS, slotOf } from '../../src/redis/command.js'

/** The driver's own function, which routes what the application sends. */
const { default: driverSlot } = createRequire(import.meta.url)('@redis/client/dist/lib/utils/calculate-slot') as {
  default: (key: string) => number
}

test.each([
  ['123456789', 12_739],
  ['', 0],
  ['foo', 12_182],
  ['{user1000}.following', 3443],
  ['{user1000}.followers', 3443],
])('the slot of %j is that of the specification', (key, slot) => {
  expect(slotOf(key)).toBe(slot)
})

test('every key has the slot that the driver gives it, braces and all', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('{', '}', '{}', '{a}', 'redwell:entry:/items?a=1'),
  )
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const key = pieces.join('')
      expect(slotOf(key)).toBe(driverSlot(key))
      expect(slotOf(key)).toBeLessThan(SLOTS)
    }),
  )
})
