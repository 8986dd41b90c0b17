/** Values that an option may be given by mistake, and which of them the usual options take. */

export const SECRET = 'hunter2-nonsense'

export const PROBES = {
  text: SECRET,
  empty: '',
  digits: '60',
  duration: '5m',
  nan: Number.NaN,
  infinity: Infinity,
  negative: -1,
  zero: 0,
  fraction: 0.5,
  one: 1,
  true: true,
  false: false,
  null: null,
  object: { nonsense: 1 },
  list: [{}],
  texts: ['a'],
  none: [],
  function: () => 1,
  promise: Promise.resolve(1),
  symbol: Symbol('s'),
} as const

export type Probe = keyof typeof PROBES

/** What an option takes. */
export type Rows<Options> = Record<keyof Required<Options>, readonly Probe[]>

export const DURATION: readonly Probe[] = ['duration', 'zero', 'fraction', 'one']
export const POSITIVE: readonly Probe[] = ['duration', 'fraction', 'one']
export const FRACTION: readonly Probe[] = ['zero', 'fraction', 'one']
export const COUNT: readonly Probe[] = ['one']
export const BYTES: readonly Probe[] = ['zero', 'one']
export const FLAG: readonly Probe[] = ['true', 'false']
export const TEXT: readonly Probe[] = ['text', 'digits', 'duration']
export const FUNCTION: readonly Probe[] = ['function']
export const NAMES: readonly Probe[] = ['text', 'digits', 'duration', 'texts']
/** Only values that are no probe. */
export const OTHERS: readonly Probe[] = []

/** What is thrown; undefined: nothing. */
export async function thrownBy(declare: () => unknown): Promise<unknown> {
  try {
    await declare()
  } catch (error) {
    return error
  }
  return undefined
}
