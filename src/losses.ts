import { types } from 'node:util'

/** Deeper than any data; the coders themselves end in a stack overflow a little later. */
const DEPTH_MAX = 1000

type Path = (string | number)[]

/** What a stored form has no room for. Messages name the kind of a value, never the value. */
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
    return processBoundKind(value)
  },
}

const RICH_FORM: Form = { name: 'stored', refusesNumber: () => false, refusedKind: processBoundKind }

/** Objects that have no meaning outside this process, whatever the form. */
function processBoundKind(value: object): string | undefined {
  if (types.isPromise(value)) return 'Promise (is an `await` missing?)'
  return types.isWeakMap(value) || types.isWeakSet(value) ? 'weak collection' : undefined
}

/** What JSON would lose silently of a value, and where in it; undefined where nothing is. */
export function jsonProblem(value: unknown): string | undefined {
  return problemIn(value, [], JSON_FORM)
}

/** What even a form that keeps all kinds of data would lose (functions, symbols, promises), and where in the value. */
export function lossProblem(value: unknown): string | undefined {
  return problemIn(value, [], RICH_FORM)
}

/** What of a value the form would lose, and where in it; undefined where nothing is. */
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
  if (Array.isArray(value)) return problemOfParts(value, value.keys(), path, form)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    const kind = form.refusedKind(value)
    if (kind !== undefined) return `a ${kind}${at(path)} has no ${form.name} form`
    if (form === RICH_FORM) return undefined
  }
  return 'toJSON' in value && form === JSON_FORM ? undefined : problemOfParts(value, Object.keys(value), path, form)
}

function problemOfParts(value: object, steps: Iterable<string | number>, path: Path, form: Form): string | undefined {
  for (const step of steps) {
    path.push(step)
    const problem = problemIn((value as Readonly<Record<string | number, unknown>>)[step], path, form)
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
