import { types } from 'node:util'

/** Deeper than any data; JSON.stringify itself ends in a stack overflow a little later. */
const DEPTH_MAX = 1000

const ADVICE = 'the coders of redwell/devalue and redwell/msgpackr keep it'

/** What of a value JSON would lose or refuse, and where in it; undefined where nothing is. */
export function jsonProblem(value: unknown): string | undefined {
  return problemIn(value, [])
}

function problemIn(value: unknown, path: (string | number)[]): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : `${String(value)}${at(path)} has no JSON form`
    case 'object':
      return value === null ? undefined : problemOfObject(value, path)
    case 'undefined':
      // A property without a value is left out, as one expects; a whole value has to be something.
      return path.length === 0 ? 'undefined has no JSON form' : undefined
    case 'bigint':
      // Applications that settled for a form of their own have put it here.
      if ('toJSON' in BigInt.prototype) return undefined
      return `a bigint${at(path)} has no JSON form; ${ADVICE}`
    default:
      return `a ${typeof value}${at(path)} has no JSON form`
  }
}

function problemOfObject(value: object, path: (string | number)[]): string | undefined {
  if (path.length > DEPTH_MAX) return `it is nested deeper than ${DEPTH_MAX}, or contains itself`
  if (Array.isArray(value)) return problemOfItems(value, path)
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function' && !ArrayBuffer.isView(value)) return undefined
  const kind = lossyKind(value)
  if (kind !== undefined) return `a ${kind}${at(path)} has no JSON form; ${ADVICE}`
  for (const name in value) {
    if (!Object.hasOwn(value, name)) continue
    path.push(name)
    const problem = problemIn((value as Record<string, unknown>)[name], path)
    if (problem !== undefined) return problem
    path.pop()
  }
  return undefined
}

function problemOfItems(items: readonly unknown[], path: (string | number)[]): string | undefined {
  for (let index = 0; index < items.length; index += 1) {
    path.push(index)
    const problem = problemIn(items[index], path)
    if (problem !== undefined) return problem
    path.pop()
  }
  return undefined
}

/** Built-in kinds of object that JSON turns into `{}` or something as useless. */
function lossyKind(value: object): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return undefined
  if (types.isMap(value)) return 'Map'
  if (types.isSet(value)) return 'Set'
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return 'typed array or buffer'
  if (types.isPromise(value)) return 'Promise (is an `await` missing?)'
  if (types.isRegExp(value)) return 'RegExp'
  if (types.isNativeError(value)) return 'Error'
  return types.isWeakMap(value) || types.isWeakSet(value) ? 'weak collection' : undefined
}

function at(path: readonly (string | number)[]): string {
  if (path.length === 0) return ''
  const steps = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
  return ` at ${steps.join('')}`
}
