import { UsageError, ValueError } from '../errors.js'
import { isPromise } from '../maybe-promise.js'
import { describeIssues } from '../schema-issues.js'
import type { SessionPolicy } from './options.js'
import type { SessionFacts } from './outcome.js'
import type { SessionSealer } from './secrets.js'
import type { StoredProperty } from './session-store.js'
import type { SessionData, SessionSchema } from './types.js'

/** More would be a list in the wrong place: a property is a field of a hash. */
const PROPERTIES_MAX = 1000

/** What differs between data and what is stored. */
export interface PayloadChange {
  readonly set: readonly StoredProperty[]
  readonly removed: readonly string[]
  /** No property is left. */
  readonly empty: boolean
  /** What is stored when this is. */
  readonly written: readonly Written[]
}

interface Written {
  readonly name: string
  readonly text: string
  readonly value: unknown
}

/** A property as it was read or last saved. */
interface Known {
  /** Undefined: it is to be replaced. */
  readonly text: string | undefined
  /** Where a value cannot change from within, comparing it saves making its text. */
  readonly value: unknown
  /** False: it came from `initial` or the schema. */
  readonly stored: boolean
  /** From `initial`: it is stored with the first change, and is none itself. */
  readonly isInitial: boolean
}

/** Equals nothing. */
const MUTABLE = Symbol('mutable')

/** Data in Redis that does not decrypt, decode or pass the schema: there is no such session. */
export class UnreadableError extends Error {}

type Values = Record<string, unknown>

/** The data of one session, and what is stored of it: changes are found by comparing texts, property by property. */
export class SessionPayload {
  readonly data: Values
  /** How often a property was set or deleted, where what is stored is not known. */
  writes = 0
  #isUnknown: boolean
  /** What identified the principal may be gone. */
  #signsOut = false
  /** Who was signed in when the data was read or last saved, and whose session it was. */
  identity: string | undefined
  readonly #policy: SessionPolicy
  #sealer: SessionSealer | undefined
  #known = new Map<string, Known>()

  /**
   * `handle`: of a session that is there. `holder`: an empty object that becomes the data. `isUnknown`: there may be
   * more than is known here, so each assignment and deletion is a change. Throws UnreadableError.
   */
  constructor(
    policy: SessionPolicy,
    stored: readonly (readonly [name: string, bytes: Buffer])[],
    handle: string | undefined,
    holder: Values,
    isUnknown = false,
  ) {
    this.#policy = policy
    this.#sealer = handle === undefined ? undefined : policy.sealer?.(handle)
    this.data = holder
    const initial = handle === undefined ? policy.initial?.() : undefined
    if (initial !== undefined) for (const [name, value] of Object.entries(initial)) this.#put(name, value, true)
    for (const [name, bytes] of stored) this.#read(name, bytes)
    if (policy.schema !== undefined) this.#validateRead(policy.schema, stored.length > 0)
    this.identity = policy.identity(this.data)
    this.#isUnknown = isUnknown
    if (isUnknown) this.data = this.#watched(holder)
  }

  /** Throws ValueError, which names properties and no values. `handle`: of the session that it will be. */
  change(handle: string | undefined): PayloadChange {
    const written: Written[] = []
    const initial: Written[] = []
    let kept = 0
    let present = 0
    for (const name of Object.keys(this.data)) {
      const value = this.data[name]
      const known = this.#known.get(name)
      const text = known !== undefined && known.value === value ? known.text : this.#text(name, value)
      if (text === undefined) continue
      if (known?.stored === true) present += 1
      if (known?.text !== text) written.push(this.#checked(name, text, value))
      else if (known.stored) kept += 1
      else if (known.isInitial) initial.push({ name, text, value })
    }
    const removed: string[] = []
    // Nearly always all that is stored is there.
    for (const [name, { stored }] of present === this.#known.size ? [] : this.#known)
      if (stored && (!Object.hasOwn(this.data, name) || this.data[name] === undefined)) removed.push(name)
    if (written.length + removed.length > 0) written.push(...initial)
    const count = kept + written.length
    if (count > PROPERTIES_MAX) throw refused('', `it has more than ${PROPERTIES_MAX} properties`)
    const { schema } = this.#policy
    if (schema !== undefined && written.length + removed.length > 0) validate(schema, this.data)
    return { set: this.#sealed(written, handle), removed, empty: count === 0, written }
  }

  /** What a change says is stored now. */
  commit({ written, removed }: PayloadChange): void {
    for (const { name, text, value } of written)
      this.#known.set(name, { text, value: constant(value), stored: true, isInitial: false })
    for (const name of removed) this.#known.delete(name)
    this.#isUnknown = false
    this.writes = 0
    this.#signsOut = false
    this.identity = this.#policy.identity(this.data)
  }

  /** All properties as they are now, to compare; also those that cannot be saved. */
  texts(): readonly (readonly [name: string, text: string | undefined])[] {
    return Object.entries(this.data).map(([name, value]) => {
      try {
        return [name, this.#write(name, value)]
      } catch (error) {
        return [name, String(error)]
      }
    })
  }

  /** What becomes of the principal with the next commit. */
  principalChange(): SessionFacts['principal'] {
    const before = this.identity
    const after = this.#policy.identity(this.data)
    if (before === after) return this.#signsOut && after === undefined ? 'signed-out' : 'same'
    if (before === undefined) return 'signed-in'
    return after === undefined ? 'signed-out' : 'switched'
  }

  /** Other data in the place of what is stored. `isUnknown`: of what may be stored, the principal included. */
  replacedBy(holder: Values, isUnknown: boolean): SessionPayload {
    const next = new SessionPayload(this.#policy, [], undefined, holder, isUnknown)
    next.#signsOut = isUnknown
    next.#sealer = this.#sealer
    for (const [name, { stored }] of this.#known)
      if (stored) next.#known.set(name, { text: undefined, value: MUTABLE, stored, isInitial: false })
    next.identity = this.identity
    return next
  }

  #watched(holder: Values): Values {
    const noticed = (name: string | symbol): true => {
      if (!this.#isUnknown) return true
      this.writes += 1
      this.#signsOut ||= this.#principalNames().has(name)
      return true
    }
    return new Proxy(holder, {
      set: (target, name, value, proxy) => Reflect.set(target, name, value, proxy) && noticed(name),
      deleteProperty: (target, name) => Reflect.deleteProperty(target, name) && noticed(name),
    })
  }

  /** Properties that the principal is read from. */
  #principalNames(): ReadonlySet<string | symbol> {
    const names = new Set<string | symbol>()
    const absent = (name: string | symbol): undefined => void names.add(name)
    this.#policy.principal(new Proxy({}, { get: (_, name) => absent(name), has: (_, name) => absent(name) ?? false }))
    return names
  }

  /** Undefined: the value is as good as absent. */
  #text(name: string, value: unknown): string | undefined {
    const text = this.#write(name, value)
    if (text === undefined && value !== undefined)
      throw refused(name, this.#policy.form.problem(value) ?? 'its toJSON() returns undefined')
    return text
  }

  #checked(name: string, text: string, value: unknown): Written {
    const problem = nameProblem(name) ?? this.#policy.form.problem(value)
    if (problem !== undefined) throw refused(name, problem)
    return { name, text, value }
  }

  #sealed(written: readonly Written[], handle: string | undefined): StoredProperty[] {
    const { form, sealer: seal } = this.#policy
    const sealer = handle === undefined ? undefined : (this.#sealer ??= seal?.(handle))
    return written.map(({ name, text }) => {
      if (sealer === undefined && form.encoding === 'utf8') return [name, text]
      const plain = Buffer.from(text, form.encoding)
      return [name, sealer === undefined ? plain : sealer.seal(name, plain)]
    })
  }

  #put(name: string, value: unknown, isNew = false): void {
    const text = this.#write(name, value)
    if (text === undefined) return
    this.data[name] = value
    const { stored = false, isInitial = isNew } = this.#known.get(name) ?? {}
    this.#known.set(name, { text, value: constant(value), stored, isInitial })
  }

  #read(name: string, bytes: Buffer): void {
    const { form } = this.#policy
    try {
      const plain = this.#sealer === undefined ? bytes : bufferOf(this.#sealer.open(name, bytes))
      const text = plain.toString(form.encoding)
      const value = form.read(text)
      this.data[name] = value
      this.#known.set(name, { text, value: constant(value), stored: true, isInitial: false })
    } catch {
      // What was thrown may show the value.
      throw new UnreadableError('a property cannot be decrypted or decoded')
    }
  }

  #write(name: string, value: unknown): string | undefined {
    try {
      return this.#policy.form.write(value)
    } catch (error) {
      throw refused(name, this.#policy.form.problem(value) ?? String(error))
    }
  }

  /** What a schema adds or converts is no change of the application's. */
  #validateRead(schema: SessionSchema, isStored: boolean): void {
    const result = schema['~standard'].validate(this.data)
    if (isPromise(result)) throw asynchronous()
    // Data of a session that is new may lack what the schema requires.
    if (result.issues !== undefined) {
      if (!isStored) return
      throw new UnreadableError('its data does not pass the schema')
    }
    if (typeof result.value !== 'object' || result.value === null) return
    for (const [name, value] of Object.entries(result.value)) this.#put(name, value)
  }
}

function nameProblem(name: string): string | undefined {
  if (name === '') return 'a property needs a name'
  // Its UTF-8 would be the name of another property.
  return /\p{Surrogate}/u.test(name) ? 'its name is not well-formed Unicode' : undefined
}

function constant(value: unknown): unknown {
  return (typeof value === 'object' && value !== null) || typeof value === 'function' ? MUTABLE : value
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function validate(schema: SessionSchema, data: Values): void {
  const result = schema['~standard'].validate(data)
  if (isPromise(result)) throw asynchronous()
  if (result.issues !== undefined) {
    const problem = `it fails its schema ${describeIssues(result.issues)}`
    throw refused('', problem, { cause: result.issues })
  }
}

function asynchronous(): UsageError {
  return new UsageError('The schema of sessions is asynchronous, but session data is validated synchronously.')
}

function refused(name: string, problem: string, options?: ErrorOptions): ValueError {
  return new ValueError(`Session data${name === '' ? '' : ` '${name}'`} cannot be saved: ${problem}.`, options)
}

/** An object for data: names such as `__proto__` are names like others. */
export function emptyData(): SessionData & Values {
  return Object.create(null) as SessionData & Values
}
