import { types } from 'node:util'

/** How values become bytes, and values again. `redwell/devalue` and `redwell/msgpackr` have two more. */
export interface Coder {
  /** Stands in each entry; an entry of another coder is a miss. */
  readonly name: string
  /** Throws what it has no form for; the caller is told which key and namespace it was. */
  encode(value: unknown): Uint8Array
  /** The bytes are the entry's own and must not be changed or kept. What it throws is a miss. */
  decode(bytes: Buffer): unknown
}

/**
 * The default. A Date, and whatever else has a `toJSON`, comes back as what that gave; what JSON would lose without a
 * word (Map, Set, typed arrays, NaN, functions) is refused.
 */
export const jsonCoder: Coder = {
  name: 'json',
  encode(value) {
    const problem = jsonProblem(value)
    if (problem !== undefined) throw new TypeError(problem)
    const text = JSON.stringify(value) as string | undefined
    if (text === undefined) throw new TypeError('its toJSON gives nothing')
    return Buffer.from(text)
  },
  decode: (bytes) => JSON.parse(bytes.toString()) as unknown,
}

/** Deeper than any data; the coders themselves end in a stack overflow a little later. */
const DEPTH_MAX = 1000

type Path = (string | number)[]

/** What a form has no room for: names the kind of the value where it is of one, and says no more of it. */
interface Form {
  readonly name: string
  /** Of numbers and bigints. */
  refusesNumber(value: number | bigint): boolean
  /** Of objects that are neither plain nor lists. */
  refusedKind(value: object): string | undefined
}

const JSON_FORM: Form = {
  name: 'JSON',
  // Applications that settled for a form of bigint of their own have put it into `toJSON`.
  refusesNumber: (value) => (typeof value === 'bigint' ? !('toJSON' in BigInt.prototype) : !Number.isFinite(value)),
  refusedKind(value) {
    if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return 'typed array or buffer'
    if (types.isMap(value)) return 'Map'
    if (types.isSet(value)) return 'Set'
    if (types.isRegExp(value)) return 'RegExp'
    if (types.isNativeError(value)) return 'Error'
    return livingKind(value)
  },
}

const RICH_FORM: Form = { name: 'stored', refusesNumber: () => false, refusedKind: livingKind }

/** What is only alive in this process, whatever the form. */
function livingKind(value: object): string | undefined {
  if (types.isPromise(value)) return 'Promise (is an `await` missing?)'
  return types.isWeakMap(value) || types.isWeakSet(value) ? 'weak collection' : undefined
}

/** What of a value JSON would lose without a word, and where in it; undefined where nothing is. */
function jsonProblem(value: unknown): string | undefined {
  return problemIn(value, [], JSON_FORM)
}

/** The same for a form that keeps all kinds of data: functions, symbols, promises. */
export function lossProblem(value: unknown): string | undefined {
  return problemIn(value, [], RICH_FORM)
}

function problemIn(value: unknown, path: Path, form: Form): string | undefined {
  switch (typeof value) {
    case 'number':
    case 'bigint': {
      const what = typeof value === 'bigint' ? 'a bigint' : String(value)
      return form.refusesNumber(value) ? `${what}${at(path)} has no ${form.name} form` : undefined
    }
    case 'object':
      return value === null ? undefined : problemOfObject(value, path, form)
    case 'function':
    case 'symbol':
      return `a ${typeof value}${at(path)} has no ${form.name} form`
    default:
      return undefined
  }
}

function problemOfObject(value: object, path: Path, form: Form): string | undefined {
  if (path.length > DEPTH_MAX) return `it is nested deeper than ${DEPTH_MAX}, or contains itself`
  if (Array.isArray(value)) return problemOfItems(value, path, form)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    const kind = form.refusedKind(value)
    if (kind !== undefined) return `a ${kind}${at(path)} has no ${form.name} form`
    if (form === RICH_FORM) return undefined
  }
  return 'toJSON' in value && form === JSON_FORM ? undefined : problemOfProperties(value, path, form)
}

function problemOfProperties(value: object, path: Path, form: Form): string | undefined {
  for (const name in value) {
    if (!Object.hasOwn(value, name)) continue
    path.push(name)
    const problem = problemIn((value as Record<string, unknown>)[name], path, form)
    if (problem !== undefined) return problem
    path.pop()
  }
  return undefined
}

function problemOfItems(items: readonly unknown[], path: Path, form: Form): string | undefined {
  for (let index = 0; index < items.length; index += 1) {
    path.push(index)
    const problem = problemIn(items[index], path, form)
    if (problem !== undefined) return problem
    path.pop()
  }
  return undefined
}

function at(path: Path): string {
  if (path.length === 0) return ''
  const steps = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
  return ` at ${steps.join('')}`
}
